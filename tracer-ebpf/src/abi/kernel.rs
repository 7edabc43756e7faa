//! What the programs must be told about the running kernel before they are loaded.
//!
//! Each entry is a read-only `u32` global of the object. The loader resolves it and overrides the
//! global; the verifier then sees a constant, so that field reads are typed and the branches that
//! this kernel cannot run are pruned.

/// A global that holds the byte offset of a struct's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelField {
    /// Name of the global.
    pub global: &'static str,
    /// The struct's name in BTF.
    pub structure: &'static str,
    /// The member's name; it may lie in an anonymous union or struct of `structure`.
    pub field: &'static str,
}

/// Every [`KernelField`] of the object.
pub const KERNEL_FIELDS: [KernelField; 14] = [
    field("O_TASK_PID", "task_struct", "pid"),
    field("O_TASK_TGID", "task_struct", "tgid"),
    field("O_TASK_GROUP_LEADER", "task_struct", "group_leader"),
    field("O_TASK_REAL_PARENT", "task_struct", "real_parent"),
    field("O_TASK_START_BOOTTIME", "task_struct", "start_boottime"),
    field("O_TASK_EXIT_CODE", "task_struct", "exit_code"),
    field("O_TASK_SIGNAL", "task_struct", "signal"),
    field("O_TASK_MM", "task_struct", "mm"),
    field("O_SIGNAL_LIVE", "signal_struct", "live"),
    field("O_MM_EXE_FILE", "mm_struct", "exe_file"),
    field("O_FILE_INODE", "file", "f_inode"),
    field("O_INODE_NUMBER", "inode", "i_ino"),
    field("O_INODE_SUPER_BLOCK", "inode", "i_sb"),
    field("O_SUPER_BLOCK_DEVICE", "super_block", "s_dev"),
];

/// A global that is 1 where the kernel can do something, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureFlag {
    /// Name of the global.
    pub global: &'static str,
    /// What the flag stands for.
    pub meaning: &'static str,
}

/// Every [`FeatureFlag`] of the object. All are 0 until the loader says otherwise.
pub const FEATURE_FLAGS: [FeatureFlag; 3] = [
    FeatureFlag {
        global: "F_COPY_FROM_USER",
        meaning: "call_entry and call_exit are loaded sleepable: bpf_copy_from_user may be called",
    },
    FeatureFlag {
        global: "F_TASK_BTF",
        meaning: "bpf_get_current_task_btf exists and every kernel field was resolved",
    },
    FeatureFlag {
        global: "F_LOOP",
        meaning: "bpf_loop exists (5.17): without it records tell time only",
    },
];

const fn field(global: &'static str, structure: &'static str, field: &'static str) -> KernelField {
    KernelField {
        global,
        structure,
        field,
    }
}
