//! How to find functions that have no symbol: in a table of pointers, by a string that only they
//! refer to, or at an address that holds for one build.

use crate::{
    document::{Placed, Setting, Source, Table},
    error::ProfileError,
};

/// Slots of a table; real interfaces have a few hundred functions.
const MOST_SLOTS: u32 = 4096;
/// A shorter string stands in too many places to name one function.
const SHORTEST_STRING: usize = 8;
/// Bytes of a function's beginning that a fingerprint compares.
const LONGEST_PRINT: usize = 32;
/// How many functions lead to each other through tables.
const DEEPEST: usize = 4;

/// A function that has no symbol in some builds, and the ways to find it, in their order of trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The name by which probes refer to the function, as they would to its symbol.
    pub name: String,
    /// Ways to find it; the first that applies is taken.
    pub ways: Vec<Way>,
}

/// A way to find a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// At an address of the image, for the build with this build-id alone.
    Address {
        /// The build.
        build_id: Vec<u8>,
        /// The function's address as symbol tables have it, before the loader adds its base.
        address: u64,
    },
    /// In a struct of pointers whose address another function returns.
    Returned {
        /// The other function: a symbol or a recipe.
        by: String,
        /// Place in the struct, counted from 0.
        slot: u32,
    },
    /// In a table of function pointers.
    Slot {
        /// Where the table is.
        table: FunctionTable,
        /// Place in it, counted from 0.
        slot: u32,
    },
    /// The one function whose code loads the address of a string.
    String {
        /// The bytes; they end with a NUL where the whole string is meant.
        text: Vec<u8>,
    },
}

/// A table of function pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTable {
    /// Function, a symbol or a recipe, that returns the table's address.
    pub getter: Option<String>,
    /// Fewest functions in a row.
    pub at_least: u32,
    /// Slots and the bytes with which their functions begin, a leading `endbr64` left out: tells the
    /// table where no getter is known.
    pub fingerprint: Vec<(u32, Vec<u8>)>,
}

/// Reads `[tables]` and `[functions]` of a document.
pub(crate) fn recipes(
    source: Source<'_>,
    root: &mut Table<'_>,
) -> Result<Vec<Recipe>, ProfileError> {
    let mut tables = Vec::new();
    if let Some(all) = root.table("tables")? {
        for (name, setting) in all.settings()? {
            let Setting::Table(table) = setting else {
                return Err(source.wrong(name.at, "a table of functions is a TOML table"));
            };
            tables.push((name.value, function_table(source, table)?));
        }
    }
    let mut recipes = Vec::new();
    let mut places = Vec::new();
    if let Some(all) = root.table("functions")? {
        for (name, setting) in all.settings()? {
            let Setting::Table(table) = setting else {
                return Err(source.wrong(name.at, "a function's recipe is a TOML table"));
            };
            places.push(name.at);
            recipes.push(recipe(source, name, table, &tables)?);
        }
    }
    for (recipe, at) in recipes.iter().zip(places) {
        if leads_too_far(recipe, &recipes, DEEPEST) {
            let problem = format!(
                "`{}` is found through itself, or through more than {DEEPEST} other functions",
                recipe.name
            );
            return Err(source.wrong(at, problem));
        }
    }
    Ok(recipes)
}

fn function_table(source: Source<'_>, mut table: Table<'_>) -> Result<FunctionTable, ProfileError> {
    let at = table.at();
    let getter = table.string("getter")?.map(|getter| getter.value);
    let at_least = match table.number("at_least")? {
        Some(number) if (1..=MOST_SLOTS).contains(&number.value) => number.value,
        Some(number) => {
            let problem = format!("`at_least` must lie between 1 and {MOST_SLOTS}");
            return Err(source.wrong(number.at, problem));
        }
        None => return Err(source.wrong(at, "a table needs `at_least`: how many functions it has")),
    };
    let mut fingerprint = Vec::new();
    if let Some(prints) = table.table("fingerprint")? {
        for (slot, setting) in prints.settings()? {
            let Setting::Text(code) = setting else {
                return Err(source.wrong(slot.at, "a fingerprint is bytes in hexadecimal"));
            };
            let bytes = crate::read::hexadecimal(&code.value)
                .filter(|bytes| bytes.len() <= LONGEST_PRINT)
                .ok_or_else(|| {
                    let problem = format!("`{}` is not 1 to 32 bytes in hexadecimal", code.value);
                    source.wrong(code.at, problem)
                })?;
            let number = slot.value.parse().ok().filter(|slot| *slot < at_least);
            let number = number.ok_or_else(|| {
                let problem = format!("`{}` is no slot below `at_least`", slot.value);
                source.wrong(slot.at, problem)
            })?;
            fingerprint.push((number, bytes));
        }
    }
    table.finish()?;
    if getter.is_none() && fingerprint.is_empty() {
        return Err(source.wrong(at, "a table needs a `getter` or a `fingerprint`"));
    }
    Ok(FunctionTable {
        getter,
        at_least,
        fingerprint,
    })
}

fn recipe(
    source: Source<'_>,
    name: Placed<String>,
    mut table: Table<'_>,
    tables: &[(String, FunctionTable)],
) -> Result<Recipe, ProfileError> {
    let mut ways = Vec::new();
    if let Some(offsets) = table.table("addresses")? {
        for (build, setting) in offsets.settings()? {
            let Setting::Text(address) = setting else {
                return Err(source.wrong(build.at, "an address is a string such as \"0x43e560\""));
            };
            let build_id = crate::read::hexadecimal(&build.value).ok_or_else(|| {
                let problem = format!("`{}` is no build-id in hexadecimal", build.value);
                source.wrong(build.at, problem)
            })?;
            let digits = address.value.strip_prefix("0x");
            let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let address = number.ok_or_else(|| {
                let problem = format!("`{}` is no address such as 0x43e560", address.value);
                source.wrong(address.at, problem)
            })?;
            ways.push(Way::Address { build_id, address });
        }
    }
    let by = table.string("returned_by")?;
    let of = table.string("table")?;
    let slot = table.number("slot")?;
    match (by, of, slot) {
        (None, None, None) => {}
        (Some(by), None, Some(slot)) if slot.value < MOST_SLOTS => ways.push(Way::Returned {
            by: by.value,
            slot: slot.value,
        }),
        (None, Some(of), Some(slot)) if slot.value < MOST_SLOTS => {
            let names = || tables.iter().map(|(name, _)| name.as_str());
            let known = tables.iter().find(|(name, _)| *name == of.value);
            let (_, table) = known.ok_or_else(|| {
                let problem = crate::expression::unknown("table", &of.value, names());
                source.wrong(of.at, problem.to_string())
            })?;
            ways.push(Way::Slot {
                table: table.clone(),
                slot: slot.value,
            });
        }
        (_, _, Some(slot)) => {
            let problem = format!(
                "`slot` needs either `table` or `returned_by`, and lies below {MOST_SLOTS}"
            );
            return Err(source.wrong(slot.at, problem));
        }
        (Some(at), _, None) | (None, Some(at), None) => {
            return Err(source.wrong(at.at, "which `slot` of it is the function?"));
        }
    }
    if let Some(text) = table.string("string")? {
        ways.push(string(source, text)?);
    }
    table.finish()?;
    if ways.is_empty() {
        let problem = "a function needs a way to find it: `table` and `slot`, `returned_by` and \
                       `slot`, `string`, or `addresses`";
        return Err(source.wrong(name.at, problem));
    }
    Ok(Recipe {
        name: name.value,
        ways,
    })
}

/// A string that ends with `*` stands for all that begin so.
fn string(source: Source<'_>, text: Placed<String>) -> Result<Way, ProfileError> {
    let Placed { value, at } = text;
    let (text, whole) = match value.strip_suffix('*') {
        Some(beginning) => (beginning, false),
        None => (value.as_str(), true),
    };
    if text.len() < SHORTEST_STRING || text.contains('\0') {
        let problem = format!("`string` must have {SHORTEST_STRING} bytes or more, and no NUL");
        return Err(source.wrong(at, problem));
    }
    let mut text = text.as_bytes().to_vec();
    text.extend(whole.then_some(0));
    Ok(Way::String { text })
}

fn leads_too_far(recipe: &Recipe, all: &[Recipe], deepest: usize) -> bool {
    let next = |name: &String| all.iter().find(|other| other.name == *name);
    recipe.ways.iter().any(|way| {
        let through = match way {
            Way::Returned { by, .. } => next(by),
            Way::Slot { table, .. } => table.getter.as_ref().and_then(next),
            Way::Address { .. } | Way::String { .. } => None,
        };
        through.is_some_and(|next| deepest == 0 || leads_too_far(next, all, deepest - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, read};

    const PROBE: &str = "name = \"p\"\nruntime = \"r\"\nrecognise = [\"f\"]\n[[probe]]\n\
                         name = \"one\"\nsignal = \"step\"\ngroup = \"g\"\nrate = 1\n\
                         symbols = [\"Api::Run\"]\n";

    fn recipes_of(text: &str) -> Vec<Recipe> {
        let profile = read("test", &format!("{PROBE}{text}"));
        profile.expect("the profile is sound").recipes
    }

    fn refused(text: &str) -> String {
        let profile = read("test", &format!("{PROBE}{text}"));
        profile.expect_err("the profile is unsound").to_string()
    }

    #[test]
    fn every_way_to_find_a_function_is_read() {
        let recipes = recipes_of(
            "[tables.Api]\ngetter = \"GetApi\"\nat_least = 3\nfingerprint = { 1 = \"8b07c3\" }\n\
             [functions.GetApi]\nreturned_by = \"GetBase\"\nslot = 0\n\
             [functions.\"Api::Run\"]\ntable = \"Api\"\nslot = 9\nstring = \"Running with \"\n\
             addresses = { ab12 = \"0x43e560\" }\n\
             [functions.other]\nstring = \"a string that goes on*\"\n",
        );
        let ways = |name: &str| {
            let recipe = recipes.iter().find(|recipe| recipe.name == name);
            recipe.map(|recipe| recipe.ways.clone()).unwrap_or_default()
        };
        let table = FunctionTable {
            getter: Some("GetApi".into()),
            at_least: 3,
            fingerprint: vec![(1, vec![0x8b, 0x07, 0xc3])],
        };
        let expected = [
            Way::Address {
                build_id: vec![0xab, 0x12],
                address: 0x43_e560,
            },
            Way::Slot { table, slot: 9 },
            Way::String {
                text: b"Running with \0".to_vec(),
            },
        ];
        assert_eq!(ways("Api::Run"), expected);
        let getter = Way::Returned {
            by: "GetBase".into(),
            slot: 0,
        };
        assert_eq!(ways("GetApi"), [getter]);
        let other = Way::String {
            text: b"a string that goes on".to_vec(),
        };
        assert_eq!(ways("other"), [other]);
    }

    #[test]
    fn an_unsound_recipe_is_refused_with_its_line() {
        for (text, reason) in [
            ("[functions.f]\n", "needs a way to find it"),
            ("[functions.f]\nstring = \"short\"\n", "8 bytes or more"),
            (
                "[functions.f]\nslot = 3\n",
                "either `table` or `returned_by`",
            ),
            ("[functions.f]\nreturned_by = \"g\"\n", "which `slot`"),
            (
                "[tables.Api]\nat_least = 2\ngetter = \"g\"\n[functions.f]\ntable = \"Apo\"\nslot = 1\n",
                "did you mean `Api`?",
            ),
            (
                "[tables.Api]\nat_least = 2\n",
                "a `getter` or a `fingerprint`",
            ),
            ("[tables.Api]\ngetter = \"g\"\n", "how many functions"),
            (
                "[tables.Api]\nat_least = 2\nfingerprint = { 7 = \"8b\" }\n",
                "no slot below",
            ),
            (
                "[functions.f]\naddresses = { xy = \"0x1\" }\n",
                "no build-id",
            ),
            (
                "[functions.f]\naddresses = { ab = \"12\" }\n",
                "no address such as",
            ),
            (
                "[functions.f]\nreturned_by = \"g\"\nslot = 0\n\
                 [functions.g]\nreturned_by = \"f\"\nslot = 0\n",
                "found through itself",
            ),
        ] {
            let message = refused(text);
            assert!(message.contains(reason), "{message}\nshould say: {reason}");
            assert!(message.contains("test, line "), "{message} names no line");
        }
    }

    #[test]
    fn a_file_that_extends_a_profile_adds_what_is_known_of_one_build() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("the folder is ours");
            path
        };
        let mut catalogue = Catalogue::built_in();
        let first =
            "extends = \"llama\"\n[functions.llama_decode]\naddresses = { ab = \"0x10\" }\n";
        let second =
            "extends = \"llama\"\n[functions.llama_decode]\naddresses = { cd = \"0x20\" }\n";
        for (name, text) in [("a.toml", first), ("b.toml", second)] {
            catalogue
                .add_file(&write(name, text))
                .expect("both are sound");
        }
        let recipes = &catalogue.profiles()[0].recipes;
        let decode = recipes.iter().find(|recipe| recipe.name == "llama_decode");
        let decode = decode.expect("it was added");
        let is_of =
            |way: &Way, id: u8| matches!(way, Way::Address { build_id, .. } if build_id == &[id]);
        assert!(is_of(&decode.ways[0], 0xcd) && is_of(&decode.ways[1], 0xab));

        let unknown = catalogue
            .add_file(&write("c.toml", "extends = \"lama\"\n"))
            .expect_err("there is no such profile");
        assert!(unknown.to_string().contains("did you mean `llama`?"));
    }

    #[test]
    fn a_name_with_parts_left_out_fits_only_what_has_all_of_them_in_order() {
        let pattern = crate::SymbolPattern::Parts(
            ["_RN", "10tokenizers", "7extract", ""]
                .map(str::to_owned)
                .into(),
        );
        assert!(pattern.matches("_RNvNtCs4x_10tokenizers5added7extractB4_"));
        assert!(!pattern.matches("_RNv7extract10tokenizers"));
        assert!(!pattern.matches("_ZN10tokenizers7extract"));
        let exact_end = crate::SymbolPattern::Parts(["_ZN", "17h", "E"].map(str::to_owned).into());
        assert!(exact_end.matches("_ZN1a17h0123E"));
        assert!(!exact_end.matches("_ZN1a17h0123E.cold"));
    }
}
