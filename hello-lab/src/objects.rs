//! The objects of the lab and the rules of their kinds: what an API server has but for its HTTP.
//!
//! The rooms above (the API, controllers, kubelet, node) change and read objects here alone. The
//! modules stand from the top down, as the rooms do.

pub mod admission;

pub mod scheduling;

pub mod defaults;

mod qos;

pub mod validation;

pub mod deletion;

pub mod events;

pub mod store;

pub mod schedule;

mod allocation;

pub mod meta;

pub mod object;

pub mod kind;

mod typed;

pub mod names;

pub use self::kind::{Key, Kind, Resource};
pub use self::object::Object;
pub use self::store::{Change, Event, Store, StoreError};
