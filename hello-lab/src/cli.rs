//! What a person at a terminal can do: one file a command.

mod keeper;

mod up;

mod run;

mod shell;

mod status;

mod down;

pub use self::down::down;
pub use self::run::run;
pub use self::shell::shell;
pub use self::status::status;
pub use self::up::{keep, up, up_detached};
