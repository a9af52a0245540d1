//! Completions and manual pages, made from what can be typed.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::generate;

use super::args::{Completions, Man, Shell};
use super::fault::{Fault, Stop};
use crate::args::Args;
use crate::{exit, out};

/// `ringfence completions`.
pub(super) fn completions(args: &Completions) -> Result<u8, Stop> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "ringfence", &mut script);
    out::print(|out| out.write_all(&script))?;
    Ok(exit::FINE)
}

/// `ringfence man`.
pub(super) fn man(args: &Man) -> Result<u8, Stop> {
    fs::create_dir_all(&args.folder).map_err(|error| Fault::file(&args.folder, error, ""))?;
    let mut count = 0_u32;
    let mut command = Args::command();
    // Subcommands get the options that all have, and their whole names.
    command.build();
    pages(&command, "ringfence", &args.folder, &mut count)?;
    eprintln!("{count} pages are in {}", args.folder.display());
    Ok(exit::FINE)
}

fn pages(command: &clap::Command, name: &str, folder: &Path, count: &mut u32) -> Result<(), Fault> {
    let path = folder.join(format!("{name}.1"));
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    let written = rendered.and_then(|()| fs::write(&path, &page));
    written.map_err(|error| Fault::file(&path, error, ""))?;
    *count = count.saturating_add(1);
    for sub in command.get_subcommands() {
        pages(sub, &format!("{name}-{}", sub.get_name()), folder, count)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Where the reference is.
    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

    fn sections(command: &clap::Command, path: &str, text: &mut String) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() {
                sections(sub, &path, text);
                continue;
            }
            let help =
                sub.clone().bin_name(path.clone()).term_width(100).render_long_help().to_string();
            let help: Vec<&str> = help.lines().map(str::trim_end).collect();
            let _ = writeln!(text, "\n## {path}\n\n```text\n{}\n```", help.join("\n").trim_end());
        }
    }

    #[test]
    fn the_reference_is_what_can_be_typed() {
        let mut text = "# Command line reference\n\nEvery command with its options, made from the program (`RINGFENCE_BLESS=1 cargo test -p ringfence reference`).\n".to_owned();
        let command = Args::command();
        sections(&command, "ringfence", &mut text);
        if std::env::var_os("RINGFENCE_BLESS").is_some() {
            fs::write(REFERENCE, &text).unwrap();
        }
        let kept = fs::read_to_string(REFERENCE).unwrap_or_default();
        assert!(
            kept == text,
            "docs/cli.md is not what the program says: RINGFENCE_BLESS=1 writes it"
        );
    }

    #[test]
    fn every_shell_knows_every_command() {
        for shell in
            [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
        {
            let mut script = Vec::new();
            generate(shell, &mut Args::command(), "ringfence", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["quarantine", "break-glass", "selector", "describe"] {
                assert!(script.contains(word), "{shell}: no {word}");
            }
        }
    }
}
