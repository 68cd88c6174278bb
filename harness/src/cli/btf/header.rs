//! `kiln btf header`.

use std::path::PathBuf;

use super::super::Failure;
use super::super::context::Context;
use super::super::output;
use super::kernels::{each, failure, select, without_btf};
use crate::btf;
use crate::exit_code;
use crate::whole_file;

/// Arguments of `kiln btf header`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  kiln btf header -k 6.12 -o vmlinux.h")]
pub(super) struct HeaderArgs {
    /// Kernel, as for `kiln btf show`; one
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernel: String,
    /// The types of this module too
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl HeaderArgs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let selected = select(context, std::slice::from_ref(&self.kernel)).await?;
        if selected.len() > 1 {
            let count = selected.len();
            return Err(Failure::new(
                exit_code::USAGE,
                format!(
                    "`{}` selects {count} kernels, and a header is of one",
                    self.kernel
                ),
            ));
        }
        let module = self.module.clone();
        let headers = each(context, selected, move |selected, kernel| {
            let name = selected.name();
            let kernel = kernel.map_err(|error| failure(name, &error))?;
            let btf = kernel.btf.ok_or_else(|| without_btf(name))?;
            let unit = match &module {
                None => btf::VMLINUX,
                Some(module) => btf.unit_of(&module.replace('-', "_")).ok_or_else(|| {
                    Failure::new(
                        exit_code::NOTHING_SELECTED,
                        format!("kernel {name} has no module {module} with BTF"),
                    )
                })?,
            };
            let unit = btf.unit(unit).map_err(|error| failure(name, &error))?;
            btf::header(unit).map_err(|error| {
                Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("kernel {name}: cannot write its types as C: {error}"),
                )
            })
        })
        .await;
        for header in headers {
            let header = header?;
            match &self.output {
                None => output::print("the header", &header)?,
                Some(path) => whole_file::write(path, header.as_bytes()).map_err(|error| {
                    Failure::new(
                        exit_code::SETUP_FAILED,
                        format!("cannot write {}: {error}", path.display()),
                    )
                })?,
            }
        }
        Ok(exit_code::OK)
    }
}
