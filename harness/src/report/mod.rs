//! Events → what people and machines read; knows no VM and no suite.
//!
//! A report gets every [`Record`](crate::run::event::Record) as it happens, and finishes once. Text from a guest goes through
//! [`escape`].

mod activity;
pub mod bisection;
mod cause;
mod class;
mod compare;
mod differences;
mod ending;
pub mod escape;
mod forecast;
mod format;
pub mod github;
mod github_log;
mod history;
mod html;
mod interface;
mod json;
mod junit;
mod kernel_order;
mod lend;
mod lines;
mod live;
pub mod markdown;
mod outlet;
mod output_files;
mod painter;
mod reports;
mod reproduce;
mod results;
mod screen;
mod status;
mod summary;
mod table;
mod tap;
mod terminal;
mod terminal_style;
mod text;
mod trend;
mod words;

pub use compare::{Baseline, CompareFormat, Comparison, compare_junit};
pub use format::{Format, ReadRun};
pub use github_log::GithubLog;
pub use history::History;
pub use html::Html;
pub use interface::{Report, ReportError};
pub use junit::Junit;
pub use outlet::{Outlet, Queue};
pub use output_files::OutputFiles;
pub use reports::Reports;
pub use status::{Levels, StatusLevel};
pub use summary::Summary;
pub use table::ruled_table;
pub use terminal::Terminal;
pub use terminal_style::TerminalStyle;
pub use trend::{Trend, TrendFormat};

#[cfg(test)]
pub(crate) mod samples;
