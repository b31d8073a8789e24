//! Objects, read strictly: what the API server would refuse, or silently drop, is an error.

pub mod strict;
