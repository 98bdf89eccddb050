//! A look at what the user of a connection may do.

use super::{Amqp, AmqpError, name};
use lapin::{
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};

impl Amqp {
    /// Declares a queue of this name and deletes it again. The queue is exclusive, so it also ends
    /// with the connection.
    ///
    /// # Errors
    /// Why the broker cannot be reached, or why it refuses the declaration.
    pub async fn try_declaring(&self, queue: &str) -> Result<(), AmqpError> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let declare = channel.queue_declare(name(queue)?, options, FieldTable::default());
        self.answer(declare).await?;
        let delete = channel.queue_delete(name(queue)?, QueueDeleteOptions::default());
        // The queue also ends with the connection, so a failed delete does no harm.
        let _ = self.answer(delete).await;
        Ok(())
    }
}
