//! What goes into the database and what comes out of it, in the domain's words.

mod asset;
mod change;
mod delivery;
mod event;
mod media;
mod replay;
mod token;

pub use asset::*;
pub use change::*;
pub use delivery::*;
pub use event::*;
pub use media::*;
pub use replay::*;
pub use token::*;
