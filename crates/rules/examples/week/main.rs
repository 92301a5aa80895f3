//! How many messages the rules that are built in make of a simulated week.
//!
//! ```console
//! cargo run -p rules --example week
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person at a terminal")]

mod story;

fn main() {
    println!("{}", story::told());
}
