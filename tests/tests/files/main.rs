//! Every way to get at a watched file, against each way to see it. Needs root and BPF.
//!
//! The names are those of the list of ways around an auditor (A name and identity, B the open path, C
//! content, D the sensor), and each letter is a room. A case runs `workloads/accesses.c`, and the
//! access has to be told with the right inode and process. What a tier misses must be among the blind
//! spots that it names itself. What is tested elsewhere, and what cannot be staged, stands in
//! `docs/file-cases.md`.

mod bench;
mod content;
mod names;
mod opens;
mod sensor;

/// Each case as a test of each tier, with the tracer that they share or alone. Those with hooks run in
/// guests, whose kernels let programs into them.
macro_rules! cases {
    (@tier $tier:ident, $attributes:tt, $($how:ident { $($room:ident::$name:ident),* $(,)? })*) => {
        mod $tier {
            $($(cases!(@test $tier, $attributes, $how, $room::$name);)*)*
        }
    };
    (@test $tier:ident, [$($attribute:tt)*], $how:ident, $room:ident::$name:ident) => {
        #[test]
        $($attribute)*
        fn $name() -> anyhow::Result<()> {
            crate::bench::$how(stringify!($tier), stringify!($name), crate::$room::$name)
        }
    };
    ($($list:tt)*) => {
        cases!(@tier lsm, [#[ignore = "runs in guests"]], $($list)*);
        cases!(@tier fentry, [#[ignore = "runs in guests"]], $($list)*);
        cases!(@tier kprobe, [#[ignore = "runs in guests"]], $($list)*);
        cases!(@tier tracepoint, [], $($list)*);
    };
}

cases! {
    shared {
        names::a1_another_name_is_the_same_inode,
        names::a2_a_link_that_is_swapped_leads_to_the_file_that_is_read,
        names::a3_a_bind_mount_in_another_namespace_is_the_same_inode,
        names::a4_a_file_under_an_overlay_is_its_real_inode,
        names::a5_a_replaced_file_is_told,
        names::a6_a_file_is_watched_after_its_last_name_is_gone,
        names::a6_a_copy_in_memory_reads_the_original,
        names::a6_a_file_that_was_made_without_a_name_is_told,
        names::a7_descriptors_and_mappings_opened_again_through_proc_are_opens,
        names::a8_relative_and_rooted_opens_are_opens,
        names::a8_a_container_is_told_as_it_is_outside,
        names::a8_where_a_container_has_a_file_follows_its_mounts,
        names::a8_a_root_is_told_with_the_path_below_it,
        names::a9_a_name_that_looks_the_same_is_another_inode,
        names::a10_a_copy_reads_the_original,
        names::a11_a_reused_descriptor_number_is_not_mistaken,
        names::names_and_attributes_are_told,
        opens::b12_an_open_by_handle_is_an_open,
        opens::b13_a_descriptor_without_rights_opened_again_is_an_open,
        opens::b14_io_uring_is_the_submitter,
        opens::b15_a_descriptor_that_was_passed_on_is_told_by_its_use,
        opens::b17_every_system_call_that_reads_is_a_read,
        opens::b18_a_32_bit_call_is_an_open,
        content::c19_a_mapping_that_is_only_read_is_told,
        content::c21_a_store_through_a_mapping_is_a_writer,
        content::c22_a_write_whose_time_is_set_back_is_told,
        content::c23_a_hole_and_a_truncation_change_bytes,
        content::c30_direct_reads_are_reads,
        sensor::d31_a_flood_of_opens_loses_nothing,
        sensor::d34_root_of_its_own_namespace_is_still_who_it_is,
        sensor::d35_the_executable_tells_and_not_the_name,
        sensor::d38_who_may_not_open_still_may_not,
    }
    alone {
        names::a6_a_file_in_huge_pages_is_told,
        names::a8_a_path_that_no_call_takes_is_watched,
        names::a8_what_lies_too_deep_is_a_loss,
        opens::b16_who_has_the_file_already_is_found,
        sensor::d32_a_killed_tracer_leaves_the_files_alone,
    }
}
