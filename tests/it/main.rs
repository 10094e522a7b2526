mod architecture;
mod error_pages;
mod real_input;
mod repository;
