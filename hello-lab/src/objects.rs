//! The objects of the lab and the rules of their kinds: what an API server has but for its HTTP.
//!
//! The rooms above (the API, controllers, kubelet, node) change and read objects here alone.

pub mod names;

pub mod kind;

pub mod store;

pub mod object;

pub mod meta;

pub mod events;

pub mod deletion;

pub mod defaults;

pub mod validation;

pub mod admission;

pub use self::kind::{Key, Kind, Resource};
pub use self::object::Object;
pub use self::store::{Change, Event, Store, StoreError};
