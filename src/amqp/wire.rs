//! Names and arguments in the form that AMQP wants.

use super::AmqpError;
use crate::domain::topology::{Argument, Arguments};
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// A name as an AMQP short string. lapin panics on a name that is too long, so every name that
/// hearken sends goes through here.
///
/// # Errors
/// [`AmqpError::Refused`] when the name has more than 255 bytes.
pub fn name(text: &str) -> Result<ShortString, AmqpError> {
    ShortString::try_new(text)
        .map_err(|error| AmqpError::Refused(format!("the name {text:?} does not fit: {error}")))
}

/// Arguments of a queue, an exchange or a binding as an AMQP table.
///
/// # Errors
/// [`AmqpError::Refused`] when an argument's name has more than 255 bytes.
pub fn table(arguments: &Arguments) -> Result<FieldTable, AmqpError> {
    let mut table = FieldTable::default();
    for (argument, value) in arguments {
        let value = match value {
            Argument::Bool(value) => AMQPValue::Boolean(*value),
            Argument::Int(value) => AMQPValue::LongLongInt(*value),
            Argument::Text(value) | Argument::Other(value) => {
                AMQPValue::LongString(value.as_str().into())
            }
        };
        table.insert(name(argument)?, value);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_more_than_255_bytes_is_refused_instead_of_a_panic() {
        assert!(name(&"x".repeat(255)).is_ok());
        let long = "x".repeat(256);
        assert!(matches!(name(&long), Err(AmqpError::Refused(text)) if text.contains(&long)));
        let arguments = Arguments::from([(long, Argument::Bool(true))]);
        assert!(table(&arguments).is_err());
    }
}
