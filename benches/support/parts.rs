//! Arguments of the benchmarks that have parts.

use clap::{Parser, ValueEnum, builder::EnumValueParser};

#[derive(Parser)]
pub struct Arguments<P: ValueEnum + Send + Sync + 'static> {
    /// Only this part.
    #[arg(long, value_parser = EnumValueParser::<P>::new())]
    only: Option<P>,
    /// Few and short rounds: to see that it runs. The figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl<P: ValueEnum + PartialEq + Send + Sync + 'static> Arguments<P> {
    pub fn read() -> Arguments<P> {
        let arguments = Arguments::<P>::parse();
        if arguments.quick {
            println!("--quick: these figures mean nothing");
        }
        arguments
    }

    pub fn asks(&self, part: P) -> bool {
        self.only.as_ref().is_none_or(|only| *only == part)
    }
}
