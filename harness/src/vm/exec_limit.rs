//! Linux's limits on a program's arguments and environment, checked before a guest exceeds them.

use guest_init::message::ProcessSpec;

/// Most bytes of one argument or variable: `MAX_ARG_STRLEN`
/// (include/uapi/linux/binfmts.h), 32 pages, less its NUL.
pub const MAX_STRING: usize = 32 * 4096 - 1;

/// Most bytes of all of them, with a NUL and a pointer each: a quarter of the
/// limit on the stack (`bprm_stack_limits`, fs/exec.c), which is 8 MiB in a guest.
pub const MAX_TOTAL: usize = 2 << 20;

/// A command that Linux refuses with E2BIG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// An argument.
    #[error("argument {number} has {bytes} bytes, but Linux allows at most {MAX_STRING} (E2BIG)")]
    Argument {
        /// Its number; 0 is the program.
        number: usize,
        /// Its length.
        bytes: usize,
    },
    /// A variable.
    #[error("the variable {name} has {bytes} bytes, but Linux allows at most {MAX_STRING} (E2BIG)")]
    Variable {
        /// Its name.
        name: String,
        /// Its length, name included.
        bytes: usize,
    },
    /// All of them together.
    #[error(
        "arguments and environment have {bytes} bytes, but Linux allows at most {MAX_TOTAL}, \
         including a NUL and a pointer for each (E2BIG)"
    )]
    Total {
        /// NULs and pointers included.
        bytes: usize,
    },
}

/// Checks arguments and environment. They may still be some bytes too long: Linux also counts the
/// path of the program.
pub fn check(argv: &[Vec<u8>], env: &[(Vec<u8>, Vec<u8>)]) -> Result<(), TooLong> {
    for (number, argument) in argv.iter().enumerate() {
        if argument.len() > MAX_STRING {
            return Err(TooLong::Argument {
                number,
                bytes: argument.len(),
            });
        }
    }
    for (name, value) in env {
        let bytes = name.len() + 1 + value.len();
        if bytes > MAX_STRING {
            return Err(TooLong::Variable {
                name: String::from_utf8_lossy(name).into_owned(),
                bytes,
            });
        }
    }
    let variables = env.iter().map(|(name, value)| name.len() + 1 + value.len());
    let strings = argv.iter().map(Vec::len).chain(variables);
    let bytes = strings.map(|length| length + 1 + size_of::<u64>()).sum();
    if bytes > MAX_TOTAL {
        return Err(TooLong::Total { bytes });
    }
    Ok(())
}

/// The same for a process of a job.
pub fn check_spec(spec: &ProcessSpec) -> Result<(), TooLong> {
    check(&spec.argv, &spec.env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_an_error_of_its_own() {
        let long = vec![b'x'; MAX_STRING];
        let argv = [vec![b'p'], long.clone()];
        assert_eq!(check(&argv, &[]), Ok(()));
        let error = check(
            &[argv[0].clone(), [long.clone(), long.clone()].concat()],
            &[],
        );
        assert_eq!(
            error,
            Err(TooLong::Argument {
                number: 1,
                bytes: 2 * MAX_STRING
            })
        );
        let name = b"NAME".to_vec();
        let value = long[..MAX_STRING - 5].to_vec();
        assert_eq!(check(&argv, &[(name.clone(), value)]), Ok(()));
        let error = check(&argv, &[(name, long.clone())]).map_err(|error| error.to_string());
        let text = error.err().unwrap_or_default();
        assert!(
            text.starts_with("the variable NAME has 131076 bytes"),
            "{text}"
        );
        let many = vec![long; 17];
        assert_eq!(
            check(&many, &[]),
            Err(TooLong::Total {
                bytes: 17 * (MAX_STRING + 9)
            })
        );
    }
}
