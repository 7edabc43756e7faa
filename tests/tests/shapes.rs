//! Whatever way C, C++ or Rust passes a value, the tracer reads what the target says it passed. Needs
//! root and BPF.

use std::fs;

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    cache::Cache,
    calls::{check_profile, read_as_passed, run},
    compile::SOURCES,
    requires_root,
    workload::Target,
};

#[test]
fn every_way_of_passing_a_value_in_cxx_is_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::Shapes.command(&Cache::open()?, &[])?;
    read_as_passed(
        command,
        &fs::read_to_string(format!("{SOURCES}/shapes.toml"))?,
    )
}

#[test]
fn the_strings_and_vectors_of_libcxx_are_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::ShapesLibcxx.command(&Cache::open()?, &[])?;
    let profile = fs::read_to_string(format!("{SOURCES}/shapes.toml"))?;
    // The same values, laid out as the other library does.
    let profile = profile
        .replace("\"string_view ", "\"str ")
        .replace("\"string ", "\"libcxx_string ")
        .replace("of string ", "of libcxx_string ")
        .replace("\"strings ", "\"libcxx_strings ")
        .replace("rsi size 32", "rsi size 24");
    read_as_passed(command, &profile)
}

#[test]
fn every_way_of_passing_text_and_slices_in_rust_is_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::Slices.command(&Cache::open()?, &[])?;
    read_as_passed(
        command,
        &fs::read_to_string(format!("{SOURCES}/slices.toml"))?,
    )
}

#[test]
fn below_the_level_of_content_only_sizes_leave_the_process() -> Result<()> {
    requires_root!();
    let command = Target::Slices.command(&Cache::open()?, &[])?;
    let profile = fs::read_to_string(format!("{SOURCES}/slices.toml"))?;
    let (_, calls) = run(command, &profile, "shape")?;
    ensure!(!calls.is_empty(), "nothing was traced");
    for (function, values) in calls {
        for (name, value) in values {
            let is_size = matches!(name.as_str(), "number" | "word_count");
            let is_withheld = value == "level";
            ensure!(is_size != is_withheld, "{function}: {name} is {value}");
        }
    }
    Ok(())
}

#[test]
fn a_profile_check_shows_one_call_of_a_running_process_and_ends_by_itself() -> Result<()> {
    requires_root!();
    let target = Target::Slices.command(&Cache::open()?, &[])?;
    let checked = check_profile(target, "slices.toml")?;
    let probes = checked["libraries"][0]["probes"].as_array();
    for probe in probes.context("no library was checked")? {
        ensure!(probe["status"] == "resolved", "{probe}");
        ensure!(probe["call"]["at"] == "entry", "no call was seen: {probe}");
    }
    let owned = &checked["libraries"][0]["probes"][3]["call"]["values"];
    ensure!(owned["word_count"]["number"] == 1, "{owned}");
    // Text is above the level that nobody granted.
    ensure!(owned["text"]["unread"] == "level", "{owned}");
    Ok(())
}
