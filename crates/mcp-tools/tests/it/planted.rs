//! Secrets and attacks planted in every field of the estate that others control, and every read over
//! it: tools, the whole API, resources.

mod ask;
mod attacks;
mod secrets;
