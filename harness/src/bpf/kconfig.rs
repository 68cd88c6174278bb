//! Variables of an object that libbpf fills in from the kernel's configuration
//! (`extern … __kconfig`), by its rules.

use crate::btf::{Kind, Type};

/// No text of a configuration is longer.
const MAX_TEXT: u32 = 1 << 16;

/// What a variable can hold (libbpf: `enum kcfg_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KconfigType {
    /// `char`, which holds `y`, `m` or `n`, or a number.
    Char,
    /// `bool`.
    Bool,
    /// An integer of some bytes, signed or not.
    Int(u8, bool),
    /// `enum libbpf_tristate`.
    Tristate,
    /// A text of at most so many bytes, the last of them NUL.
    Text(u32),
}

/// A value of the configuration does not fit its variable: libbpf refuses the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl KconfigType {
    /// What a variable of this type can hold; `None` if libbpf does not know it.
    pub fn of(ty: Type<'_>) -> Option<Self> {
        let ty = ty.resolved();
        match ty.kind() {
            Kind::Int => {
                let (int, size) = (ty.int()?, ty.own_size()?);
                match size {
                    1 if int.is_bool => Some(Self::Bool),
                    _ if int.is_bool => None,
                    1 => Some(Self::Char),
                    2 | 4 | 8 => Some(Self::Int(u8::try_from(size).ok()?, int.signed)),
                    _ => None,
                }
            }
            Kind::Enum | Kind::Enum64 => (ty.name() == "libbpf_tristate").then_some(Self::Tristate),
            Kind::Array => {
                let (element, _, count) = ty.array()?;
                let text = Self::of(ty.btf().ty(element)) == Some(Self::Char);
                (text && (1..=MAX_TEXT).contains(&count)).then_some(Self::Text(count))
            }
            _ => None,
        }
    }

    /// The bytes of the variable where the configuration has `value`, which stands behind the `=`.
    pub fn bytes(self, value: &str) -> Result<Vec<u8>, Misfit> {
        let first = value.chars().next().unwrap_or(' ');
        match first {
            'y' | 'm' | 'n' => self.tristate(first),
            '"' => {
                let text = value
                    .strip_prefix('"')
                    .and_then(|text| text.strip_suffix('"'));
                match (self, text) {
                    (Self::Text(size), Some(text)) => {
                        let mut bytes = text.as_bytes().to_vec();
                        bytes.truncate(size as usize - 1);
                        bytes.resize(size as usize, 0);
                        Ok(bytes)
                    }
                    _ => Err(Misfit(format!(
                        "its value {value} is a string, and the variable is not"
                    ))),
                }
            }
            _ => {
                let number = integer(value)
                    .ok_or_else(|| Misfit(format!("its value {value} is no number")))?;
                if !matches!(self, Self::Int(..) | Self::Char) {
                    return Err(Misfit(format!(
                        "its value {value} is a number, and the variable is not"
                    )));
                }
                self.number(number)
            }
        }
    }

    /// The bytes of the variable for a number.
    pub fn number(self, number: u64) -> Result<Vec<u8>, Misfit> {
        let misfit = || Misfit(format!("its value {number} does not fit the variable"));
        let (size, signed) = match self {
            Self::Int(size, signed) => (size, signed),
            Self::Char => (1, true),
            Self::Bool if number <= 1 => (1, false),
            _ => return Err(misfit()),
        };
        let bits = u32::from(size) * 8;
        let fits = if bits == 64 {
            true
        } else if signed {
            number.wrapping_add(1 << (bits - 1)) < 1 << bits
        } else {
            number >> bits == 0
        };
        if !fits {
            return Err(misfit());
        }
        Ok(number.to_le_bytes()[..usize::from(size)].to_vec())
    }

    /// The bytes of a variable that nothing sets.
    pub fn unset(self) -> Vec<u8> {
        let size = match self {
            Self::Char | Self::Bool => 1,
            Self::Int(size, _) => u32::from(size),
            Self::Tristate => 4,
            Self::Text(size) => size,
        };
        vec![0; size as usize]
    }

    fn tristate(self, value: char) -> Result<Vec<u8>, Misfit> {
        match (self, value) {
            (Self::Bool, 'm') => Err(Misfit(
                "it is built as a module, and the variable is a bool".to_owned(),
            )),
            (Self::Bool, _) => Ok(vec![u8::from(value == 'y')]),
            (Self::Tristate, _) => {
                let number: u32 = match value {
                    'y' => 1,
                    'm' => 2,
                    _ => 0,
                };
                Ok(number.to_le_bytes().to_vec())
            }
            (Self::Char, _) => Ok(vec![u8::try_from(value).unwrap_or(0)]),
            _ => Err(Misfit(format!(
                "its value is {value}, and the variable is no bool, tristate or char"
            ))),
        }
    }
}

/// A number as C writes it.
fn integer(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        u64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    let number = number.ok()?;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// The value of `name` in the text of a configuration; `None` if it is not set.
pub fn value_of<'c>(config: &'c str, name: &str) -> Option<&'c str> {
    let mut lines = config.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_becomes_what_libbpf_makes_of_it() {
        let bytes = |kind: KconfigType, value: &str| kind.bytes(value).ok();
        assert_eq!(bytes(KconfigType::Bool, "y"), Some(vec![1]));
        assert_eq!(bytes(KconfigType::Bool, "m"), None);
        assert_eq!(bytes(KconfigType::Tristate, "m"), Some(vec![2, 0, 0, 0]));
        assert_eq!(bytes(KconfigType::Char, "m"), Some(vec![b'm']));
        assert_eq!(
            bytes(KconfigType::Int(4, false), "250"),
            Some(vec![250, 0, 0, 0])
        );
        assert_eq!(
            bytes(KconfigType::Int(8, false), "0x10"),
            Some(vec![16, 0, 0, 0, 0, 0, 0, 0])
        );
        assert_eq!(bytes(KconfigType::Int(2, true), "-1"), Some(vec![255, 255]));
        assert_eq!(bytes(KconfigType::Int(2, false), "65536"), None);
        assert_eq!(bytes(KconfigType::Int(4, false), "y"), None);
        assert_eq!(bytes(KconfigType::Bool, "1"), None);
        assert_eq!(
            bytes(KconfigType::Text(4), "\"(none)\""),
            Some(b"(no\0".to_vec())
        );
        assert_eq!(bytes(KconfigType::Int(4, true), "\"a\""), None);
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let config = "# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_HZ=250\n";
        assert_eq!(value_of(config, "CONFIG_HZ"), Some("250"));
        assert_eq!(value_of(config, "CONFIG_A"), None);
    }
}
