//! Writes against a node that keeps rows as the real one does, told as a client sees them.
//!
//! | module     | what it knows                                     |
//! |------------|---------------------------------------------------|
//! | `node`     | a node in memory, and how a test disturbs it      |
//! | `wire`     | requests, and rows as JSON                        |
//! | `inserts`, `upserts`, `partials`, `deletes` | the calls        |
//! | `refusals` | a table of requests that are refused              |
//! | `model`    | random writes against a map                       |

mod deletes;
mod inserts;
mod model;
mod node;
mod partials;
mod refusals;
mod upserts;
mod wire;
