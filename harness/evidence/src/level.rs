//! How far a VexFS has come: its trials in levels, from easy to hard.
//!
//! An author begins with a file system that mounts, and ends with one that withstands misuse. A trial
//! belongs to one level, the same in both homes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;

/// A level: trials that demand similar things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It mounts, holds files and directories, and unmounts.
    Mounts,
    /// It does what POSIX and Linux ask of a file system.
    Posix,
    /// It answers the contract's requests, and refuses what it has to.
    Requests,
    /// Its indexes follow their rows and answer truly, of every kind.
    Indexes,
    /// It loses nothing at a limit, or where something fails.
    Limits,
    /// Many use it at once, and some of them mean harm.
    Concurrency,
}

impl Level {
    /// All of them, in the order in which an author comes by them.
    pub const ALL: [Level; 6] = [
        Level::Mounts,
        Level::Posix,
        Level::Requests,
        Level::Indexes,
        Level::Limits,
        Level::Concurrency,
    ];

    /// The level of the trial called `name`, where it is one of a home's.
    pub fn of_trial(name: &str) -> Option<Level> {
        if !matches!(Criterion::of_trial(name)?, Criterion::Fuse | Criterion::Module) {
            return None;
        }
        let (_, name) = name.split_once("::")?;
        if name.starts_with("adversary_") {
            return Some(Level::Concurrency);
        }
        TRIALS.iter().find(|(_, names)| names.contains(&name)).map(|&(level, _)| level)
    }

    /// What it is called, for a person.
    pub fn title(self) -> &'static str {
        match self {
            Level::Mounts => "mounts and writes",
            Level::Posix => "POSIX",
            Level::Requests => "contract requests",
            Level::Indexes => "indexes",
            Level::Limits => "limits",
            Level::Concurrency => "concurrency",
        }
    }

    /// What helps an author who is there.
    pub fn next(self) -> &'static str {
        match self {
            Level::Mounts => {
                "vexfs-validate try says in ten seconds what keeps it; docs/own-vexfs.md, Mounting"
            }
            Level::Posix => {
                "the same call on tmpfs tells whose fault a red line is; a message that ends in 'the \
                 contract asks more than POSIX' may wait"
            }
            Level::Requests => {
                "docs/contract.md, Requests: ATTACH and SEARCH of a Flat index come first, what is \
                 refused after them"
            }
            Level::Indexes => {
                "docs/contract.md, Vector files: every later search sees what write(2) has changed; \
                 vexctl verify FILE names what an index gets wrong"
            }
            Level::Limits => "mount it with -o size=1M by hand, and fill it",
            Level::Concurrency => "docs/adversary.md says who does what to whom",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// Trials by their level, without the names of their criteria.
const TRIALS: [(Level, &[&str]); 6] = [
    (
        Level::Mounts,
        &[
            "append",
            "bad_mount_points_are_refused",
            "fsync",
            "fusermount_unmounts",
            "is_built_for_the_running_kernel",
            "large_file_by_hash",
            "loads_and_is_listed",
            "mkdir_and_rmdir",
            "mounts_and_is_used",
            "mounts_as_fuse",
            "readdir_1000",
            "refuses_to_load_twice",
            "refuses_to_unload_while_mounted",
            "refuses_unknown_mount_options",
            "rename",
            "signals_unmount",
            "truncate",
            "unlink",
            "unmount_leaves_nothing",
            "write_and_read_back",
            "write_in_the_middle",
        ],
    ),
    (
        Level::Posix,
        &[
            "allocated_room_is_taken",
            "changed_files_lose_set_id",
            "changes_move_ctime_only",
            "changes_move_mtime_and_ctime",
            "changes_move_the_times_of_directories",
            "chmod",
            "chmod_drops_set_group_id_of_a_strangers_group",
            "chown_by_root_only",
            "chown_drops_set_id",
            "copy_file_range_copies",
            "direct_io_or_einval",
            "directories_are_links_to_their_parents",
            "exclusive_create",
            "file_handles_hold",
            "fsx",
            "groups_are_let_in",
            "hard_link",
            "hard_links_to_other_kinds",
            "long_and_odd_names",
            "many_hard_links",
            "mapped_bytes_beyond_the_file_are_lost",
            "mappings_and_calls_see_the_same",
            "mappings_grow_by_mremap",
            "mappings_outlive_name_and_descriptor",
            "mmap_private",
            "mmap_shared",
            "only_owners_change_attributes",
            "open_refuses_what_it_cannot_give",
            "open_truncates",
            "other_allocations_are_refused",
            "others_are_refused",
            "owner_is_who_created",
            "pjdfstest",
            "programs_run",
            "punched_holes_are_zero_and_free",
            "readdir_by_who_renames_what_was_read",
            "readdir_from_a_position",
            "readdir_from_a_position_behind_changes",
            "readdir_into_small_buffers",
            "readdir_while_it_changes",
            "readers_see_what_was_written_asynchronously",
            "reading_moves_atime",
            "rename_directory",
            "rename_exchange",
            "rename_exchange_across_directories",
            "rename_noreplace",
            "rename_onto_another_link",
            "rename_over",
            "rename_over_the_other_kind",
            "rename_refuses_other_flags",
            "renamed_directories_have_their_parent",
            "rmdir_of_an_open_directory",
            "root_may_do_all_but_execute",
            "seek_data_and_hole",
            "sendfile_sends",
            "set_group_id_directories_pass_their_group_on",
            "sparse_file",
            "special_files",
            "splice_moves_both_ways",
            "statfs_counts",
            "sticky_directories_protect",
            "stores_into_a_hole_are_data",
            "symbolic_link",
            "symbolic_links_are_as_long_as_paths",
            "symbolic_links_end_in_eloop",
            "temporary_file_or_eopnotsupp",
            "the_least_and_the_greatest_times",
            "times_in_nanoseconds",
            "times_now_and_omitted",
            "truncation_under_a_mapping_is_sigbus",
            "umask",
            "unlink_while_open",
            "vectored_reads_and_writes",
            "xattrs_are_a_matter_of_permissions",
            "xattrs_are_set_read_and_removed",
            "xattrs_create_or_replace",
            "xattrs_have_sizes",
            "xattrs_of_directories_and_open_files",
            "xattrs_of_other_names_and_kinds_are_refused",
        ],
    ),
    (
        Level::Requests,
        &[
            "attach_and_search_exactly",
            "bad_addresses_are_refused",
            "bad_attaches_are_refused",
            "bad_detaches_and_stats_are_refused",
            "bad_searches_are_refused",
            "batches_are_answered_as_one_by_one",
            "eight_indexes_stand_on_one_file",
            "fuzzed_requests",
            "nan_is_refused",
            "rights_come_before_what_is_asked",
            "searches_are_served_by_fuse",
            "stats_are_served_in_any_size",
            "stats_count",
            "unknown_requests_are_no_ttys",
            "vexctl_from_import_to_detach",
        ],
    ),
    (
        Level::Indexes,
        &[
            "a_change_in_part_moves_the_times",
            "a_failed_search_leaves_stores_to_the_next",
            "a_killed_msync_keeps_its_progress",
            "a_killed_truncate_moves_the_times",
            "a_refused_write_keeps_what_was_stored",
            "a_refused_write_keeps_what_was_synced",
            "a_vector_added_to_all_changes_nothing",
            "a_write_with_nan_is_refused_or_says_how_much",
            "appended_rows_are_found",
            "changed_rows_are_answered_alike_by_hnsw",
            "changed_rows_are_answered_alike_by_ivf",
            "changed_rows_are_answered_alike_by_lsh",
            "changed_rows_are_answered_alike_by_pq",
            "changed_rows_are_answered_exactly_by_flat",
            "copies_have_no_index",
            "five_kinds_by_three_metrics",
            "holes_are_rows_of_zeros",
            "indexes_follow_fallocate",
            "indexes_of_empty_files_grow",
            "indexes_tell_how_well_they_find",
            "mapped_nan_keeps_the_row_as_it_was",
            "mapped_rows_are_found_after_every_munmap",
            "mapped_rows_are_found_after_fsync",
            "mapped_rows_are_found_after_msync",
            "mapped_rows_are_found_after_munmap",
            "moved_rows_are_told",
            "msync_indexes_each_row_once",
            "overwritten_rows_are_found",
            "renamed_and_linked_files_keep_their_indexes",
            "replaced_files_take_their_indexes_with_them",
            "rows_are_written_out_of_order",
            "rows_come_in_odd_pieces",
            "searches_of_a_file_truncated_to_nothing",
            "several_indexes_lose_their_rows_together",
            "stores_behind_the_end_of_a_growing_file_are_no_rows",
            "truncated_rows_are_not_found",
            "unlinked_files_are_searched_until_closed",
        ],
    ),
    (
        Level::Limits,
        &[
            "a_full_mount_allocates_nothing",
            "a_full_mount_loses_nothing",
            "a_list_of_xattrs_ends_at_64_kib",
            "a_mount_out_of_inodes_loses_nothing",
            "a_process_has_its_own_limit",
            "allocation_beyond_the_mount",
            "every_allocation_may_fail",
            "failed_memory_is_an_error",
            "indexes_beyond_the_limit_lose_nothing",
            "indexes_count_in_their_makers_cgroup",
            "inodes_follow_the_size",
            "mapped_nan_and_a_full_mount_keep_the_index",
            "power_cut_is_told",
            "refuses_mounts_of_user_namespaces",
            "room_is_free_when_it_was_given_back",
            "rows_beyond_all_numbers_lose_nothing",
            "rows_beyond_the_limit_lose_nothing",
            "statfs_tells_the_limits",
            "stores_beyond_the_limit_are_not_lost_in_silence",
            "survives_300_cycles",
            "symbolic_links_count",
            "the_largest_offset",
            "xattrs_count_against_the_size",
        ],
    ),
    (
        Level::Concurrency,
        &[
            "a_successor_keeps_its_mount",
            "fio_verifies_what_it_wrote",
            "forced_unmount_during_searches",
            "killed_daemon_leaves_no_one_waiting",
            "names_by_several_threads",
            "no_regression_around_the_module",
            "others_are_answered_while_a_write_waits_for_its_memory",
            "others_are_answered_while_an_index_is_built",
            "readdir_of_100_000_while_it_changes",
            "refuses_to_unload_under_load",
            "searches_among_writers_find_what_was_there",
            "searches_go_on_beside_a_training",
            "searches_go_on_while_an_index_is_built",
            "searches_wait_for_a_piece_of_a_change",
            "searches_wait_for_no_mapping_that_stored_nothing",
            "stress_ng_mixes_operations",
            "two_writers_append",
            "unloads_while_others_mount",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A trial that is new is given a level here, and one that went loses it.
    #[test]
    fn every_trial_of_a_home_has_a_level() {
        let manifest = include_str!("../../../fixtures/expected-tests.json");
        let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
        let all = ["host", "guest"].map(|place| manifest[place].as_array().unwrap().clone());
        let all: Vec<String> =
            all.iter().flatten().map(|one| one.as_str().unwrap().to_owned()).collect();
        for trial in
            all.iter().filter(|one| one.starts_with("fuse::") || one.starts_with("module::"))
        {
            assert!(Level::of_trial(trial).is_some(), "{trial} has no level in level.rs");
        }
        for (level, names) in TRIALS {
            for name in names {
                let trial = |home: &str| all.contains(&format!("{home}::{name}"));
                assert!(trial("fuse") || trial("module"), "{level}: {name} is no trial any more");
                let levels = TRIALS.iter().filter(|(_, others)| others.contains(name));
                assert_eq!(levels.count(), 1, "{name}");
            }
        }
        assert_eq!(Level::of_trial("fuse::rename"), Some(Level::Mounts));
        assert_eq!(Level::of_trial("module::adversary_does_anything"), Some(Level::Concurrency));
        assert_eq!(Level::of_trial("baseline::chromadb"), None);
    }
}
