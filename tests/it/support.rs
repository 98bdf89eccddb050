//! What tests share: the services, and a database and a virtual host of their own.

pub(crate) mod bus;
pub(crate) mod connections;
pub(crate) mod contract;
pub(crate) mod node;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rest;
pub(crate) mod services;
pub(crate) mod stage;
pub(crate) mod wait;
