//! Shows where a library's functions would be probed.
//!
//! `sites LIBRARY [NAME...]`: the plans of the named functions, or without names the share of exported
//! functions with each kind of site.

use std::{collections::BTreeMap, fs::File, time::Instant};

use tracer_probe::code::{
    Image, Planner, Request, SymbolTable,
    site::{Continuation, ExitPreference, ResultUse},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: sites LIBRARY [NAME...]")?;
    let image = Image::parse(File::open(path)?)?;
    let names: Vec<String> = arguments.collect();
    if names.is_empty() {
        survey(&image)
    } else {
        show(&image, &names)
    }
}

fn request(vaddr: u64, size: u64, result: ResultUse) -> Request {
    let exits = ExitPreference::AllowStepped;
    Request {
        vaddr,
        size,
        arguments: Vec::new(),
        result,
        exits,
        shadow_stack: false,
    }
}

fn show(image: &Image<File>, names: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let began = Instant::now();
    let found = image.symbols(&wanted)?;
    println!(
        "{} of {} names in {:?}",
        found.len(),
        names.len(),
        began.elapsed()
    );
    let (order, requests): (Vec<_>, Vec<_>) = found
        .values()
        .map(|symbol| {
            (
                symbol,
                request(symbol.vaddr, symbol.size, ResultUse::Required),
            )
        })
        .unzip();
    let began = Instant::now();
    let plans = Planner::new(image).plan_all(&requests);
    println!("planned in {:?}", began.elapsed());
    for (symbol, plan) in order.into_iter().zip(plans) {
        println!("\n{} ({} bytes)", symbol.name, symbol.size);
        match plan {
            Err(reason) => println!("  {reason}"),
            Ok(plan) => {
                if !plan.followed.is_empty() {
                    println!("  thunk to {}", plan.function.names.join(", "));
                }
                let entry = &plan.entry;
                println!(
                    "  entry {:#x} {:?} rsp+{}",
                    entry.vaddr, entry.class, entry.frame_offset
                );
                match &plan.exits {
                    Err(reason) => println!("  no exits: {reason}"),
                    Ok(exits) => exits.iter().for_each(|exit| {
                        println!(
                            "  exit  {:#x} {:?} rsp+{} {:?} {:?}",
                            exit.vaddr, exit.class, exit.frame_offset, exit.kind, exit.result
                        );
                    }),
                }
                for continuation in &plan.continuations {
                    match continuation {
                        Continuation::Here { function, exits } => {
                            println!("  ends in {:?}: {} exits", function.names, exits.len());
                        }
                        Continuation::Elsewhere { from, symbol } => {
                            println!("  ends in {symbol} of another image, from {from:#x}");
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn survey(image: &Image<File>) -> Result<(), Box<dyn std::error::Error>> {
    let mut functions = image.functions(SymbolTable::Dynamic)?;
    functions.sort_by_key(|symbol| symbol.vaddr);
    functions.dedup_by_key(|symbol| symbol.vaddr);
    for result in [ResultUse::Required, ResultUse::Unused] {
        let requests: Vec<Request> = functions
            .iter()
            .map(|symbol| request(symbol.vaddr, symbol.size, result))
            .collect();
        let began = Instant::now();
        let plans = Planner::new(image).plan_all(&requests);
        let elapsed = began.elapsed();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for (plan, symbol) in plans.iter().zip(&functions) {
            let mut count = |what| *counts.entry(what).or_default() += 1;
            match plan {
                Err(reason) => {
                    count("no entry");
                    let kind = without_addresses(&reason.to_string());
                    reasons.entry(kind).or_insert((0, symbol.name.clone())).0 += 1;
                }
                Ok(plan) => {
                    let cheap = plan.entry.class.is_emulated();
                    count(if cheap {
                        "cheap entry"
                    } else {
                        "stepped entry"
                    });
                    match &plan.exits {
                        Err(reason) => {
                            count("no safe exits");
                            let kind = without_addresses(&reason.to_string());
                            reasons.entry(kind).or_insert((0, symbol.name.clone())).0 += 1;
                        }
                        Ok(exits) => {
                            count("safe exits");
                            let here = plan.continuations.iter().flat_map(|next| match next {
                                Continuation::Here { exits, .. } => exits.as_slice(),
                                Continuation::Elsewhere { .. } => &[],
                            });
                            let mut all = exits.iter().chain(here).peekable();
                            let some = all.peek().is_some();
                            if some && all.all(|exit| exit.class.is_emulated()) {
                                count("only cheap exits");
                            }
                            let elsewhere = |next: &Continuation| {
                                matches!(next, Continuation::Elsewhere { .. })
                            };
                            if plan.continuations.iter().any(elsewhere) {
                                count("ends in another image");
                            }
                        }
                    }
                }
            }
        }
        println!(
            "result {result:?}: {} functions in {elapsed:?}",
            functions.len()
        );
        for (what, count) in counts {
            println!(
                "  {:5.1} % {what}",
                count as f64 * 100.0 / functions.len() as f64
            );
        }
        for (reason, (count, example)) in reasons {
            println!("    {count:5} {reason} ({example})");
        }
    }
    Ok(())
}

fn without_addresses(text: &str) -> String {
    let words = text
        .split(' ')
        .map(|word| if word.starts_with("0x") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
