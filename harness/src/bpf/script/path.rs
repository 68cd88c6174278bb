//! What a script reads: paths of members from something whose type the kernel knows.

/// What a path begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A struct or union that something is cast to, behind so many pointers.
    Cast {
        /// `struct` or `union`.
        keyword: &'static str,
        /// Its name.
        name: String,
    },
    /// `args`: the record of a tracepoint, or the parameters of a function.
    Args,
    /// `ctx`: what an iterator gives.
    Context,
    /// `retval`: what a function returns.
    ReturnValue,
}

/// A step from a type to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member, also behind a pointer.
    Member(String),
    /// An element of an array, or what a pointer points to.
    Element,
}

/// The longest path that is followed.
const MAX_STEPS: usize = 64;

/// From a type to one of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Path {
    /// A path without steps.
    pub(super) fn new(root: Root) -> Self {
        Self {
            root,
            steps: Vec::new(),
        }
    }

    /// One step further; `None` where that gets too long.
    pub(super) fn then(mut self, step: Step) -> Option<Self> {
        self.steps.push(step);
        (self.steps.len() <= MAX_STEPS).then_some(self)
    }
}

/// A path that a script reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The path.
    pub path: Path,
    /// The steps before this one were read where a variable got its value.
    pub from: usize,
    /// Bytes from the start of the script.
    pub at: usize,
}
