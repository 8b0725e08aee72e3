#![no_main]

use libfuzzer_sys::fuzz_target;
use patrold::fuzzing::Target;

fuzz_target!(|input: &[u8]| Target::Inventory.check(input));
