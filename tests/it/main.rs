mod delivery;
mod harness;
mod real_input;
