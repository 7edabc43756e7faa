//! The choice of sites, on functions assembled for each rule. They are real libraries, made by the
//! system's assembler and linker, so the unwind table is what `.cfi` directives say.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up fails where it stands"
)]

use std::{fs::File, path::PathBuf, process::Command};

use tempfile::TempDir;
use tracer_abi::Register;
use tracer_probe::code::{
    Image, Planner, Request, SitePlan,
    instruction::{Emulated, SiteClass, Stepped},
    site::{
        Argument, ArgumentAt, Continuation, ExitKind, ExitPreference, NoEntry, NoExit, PlanError,
        ResultLocation, ResultUse,
    },
};

/// A shared library made of assembly text, and its image.
struct Library {
    image: Image<File>,
    _folder: TempDir,
}

impl Library {
    fn assemble(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| -> PathBuf { folder.path().join(name) };
        std::fs::write(
            at("code.s"),
            format!(".text\n{text}\n.section .note.GNU-stack\n"),
        )
        .unwrap();
        let status = Command::new("cc")
            .args([
                "-shared",
                "-nostdlib",
                "-Wl,--build-id",
                "-Wl,-soname,libsites.so.1",
                "-o",
            ])
            .args([at("lib.so"), at("code.s")])
            .status()
            .expect("a C compiler driver links Rust programs, so there is one");
        assert!(status.success());
        let image = Image::parse(File::open(at("lib.so")).unwrap()).unwrap();
        Self {
            image,
            _folder: folder,
        }
    }

    fn vaddr(&self, name: &str) -> u64 {
        self.image.symbols(&[name]).found[name].vaddr
    }

    fn request(&self, name: &str) -> Request {
        let symbol = &self.image.symbols(&[name]).found[name];
        Request {
            vaddr: symbol.vaddr,
            size: symbol.size,
            arguments: Vec::new(),
            result: ResultUse::Required,
            exits: ExitPreference::AllowStepped,
            shadow_stack: false,
        }
    }

    fn plan(&self, request: &Request) -> Result<SitePlan, PlanError> {
        Planner::new(&self.image).plan(request)
    }

    fn plan_of(&self, name: &str) -> SitePlan {
        self.plan(&self.request(name)).unwrap()
    }
}

fn function(name: &str, body: &str) -> String {
    format!(
        ".globl {name}\n.type {name},@function\n{name}:\n.cfi_startproc\n{body}\n.cfi_endproc\n\
         .size {name}, .-{name}\n.p2align 4\n"
    )
}

const PROTECTED: &str = "
    endbr64
    push %r13
    .cfi_def_cfa_offset 16
    sub $16, %rsp
    .cfi_def_cfa_offset 32
    mov %fs:40, %rax
    mov %rax, 8(%rsp)
    call work@PLT
    mov %eax, %r13d
    mov 8(%rsp), %rax
    sub %fs:40, %rax
.Lexit: jne .Lfail
    add $16, %rsp
    .cfi_remember_state
    .cfi_def_cfa_offset 16
    mov %r13d, %eax
    pop %r13
    .cfi_def_cfa_offset 8
    ret
.Lfail:
    .cfi_restore_state
    call __stack_chk_fail@PLT";

#[test]
fn the_push_after_endbr_is_the_entry() {
    let library = Library::assemble(&function("f", PROTECTED));
    let entry = library.plan_of("f").entry;
    assert_eq!(entry.vaddr, library.vaddr("f") + 4);
    assert_eq!(entry.class, SiteClass::Emulated(Emulated::Push));
    assert_eq!(entry.frame_offset, 8);
    assert_eq!(
        library.image.file_offset(entry.vaddr),
        Some(entry.file_offset)
    );
}

#[test]
fn the_stack_protectors_jump_is_the_exit_with_the_result_where_it_is_then() {
    let library = Library::assemble(&function("f", PROTECTED));
    let exits = library.plan_of("f").exits.unwrap();
    let [exit] = &exits[..] else {
        panic!("{exits:?}")
    };
    assert_eq!(exit.class, SiteClass::Emulated(Emulated::ConditionalJump));
    assert_eq!(exit.frame_offset, 32);
    assert_eq!(exit.kind, ExitKind::EmulatedBeforeReturn);
    assert_eq!(
        exit.result,
        ResultLocation::Register {
            register: Register::R13,
            width: 4
        }
    );
}

#[test]
fn an_overwritten_argument_moves_the_entry_before_the_overwriting() {
    let library = Library::assemble(&function(
        "f",
        "mov %rsi, %rdi\n push %rbx\n.cfi_def_cfa_offset 16\n pop %rbx\n.cfi_def_cfa_offset 8\n ret",
    ));
    let mut request = library.request("f");
    assert_eq!(
        library.plan(&request).unwrap().entry.class,
        SiteClass::Emulated(Emulated::Push)
    );
    request.arguments = vec![Argument::Register(Register::Rdi)];
    let entry = library.plan(&request).unwrap().entry;
    assert_eq!(entry.class, SiteClass::SingleStepped(Stepped::Other));
    assert_eq!(entry.vaddr, library.vaddr("f"));
}

#[test]
fn stack_arguments_are_found_from_the_frame_and_lost_when_overwritten() {
    let library = Library::assemble(&format!(
        "{}{}",
        function(
            "reads",
            "sub $24, %rsp\n.cfi_def_cfa_offset 32\n mov %rax, 8(%rsp)\n test %edi, %edi\n je 1f\n\
             1: add $24, %rsp\n.cfi_def_cfa_offset 8\n ret",
        ),
        function(
            "writes",
            "sub $24, %rsp\n.cfi_def_cfa_offset 32\n mov %rax, 40(%rsp)\n test %edi, %edi\n je 1f\n\
             1: add $24, %rsp\n.cfi_def_cfa_offset 8\n ret",
        ),
    ));
    let plan = |name| {
        let mut request = library.request(name);
        request.arguments = vec![Argument::Stack {
            offset: 8,
            length: 4,
        }];
        library.plan(&request).unwrap().entry
    };
    let entry = plan("reads");
    assert_eq!(entry.class, SiteClass::Emulated(Emulated::ConditionalJump));
    assert_eq!(
        (entry.frame_offset, &entry.arguments[..]),
        (32, &[ArgumentAt::Stack(40)][..])
    );
    let entry = plan("writes");
    assert_eq!(entry.vaddr, library.vaddr("writes"));
    assert_eq!(entry.arguments, [ArgumentAt::Stack(16)]);
}

#[test]
fn a_thunk_is_followed_to_what_it_jumps_to() {
    let thunk = function("old_name", "endbr64\n jmp f@PLT");
    let library = Library::assemble(&(function("f", PROTECTED) + &thunk));
    let plan = library.plan_of("old_name");
    assert_eq!(plan.function.vaddr, library.vaddr("f"));
    assert_eq!(plan.function.names, ["f"]);
    assert_eq!(plan.followed, [library.vaddr("old_name")]);
}

#[test]
fn all_names_of_an_address_are_known() {
    let alias = ".globl f_alias\n.set f_alias, f\n";
    let library = Library::assemble(&(function("f", PROTECTED) + alias));
    assert_eq!(library.plan_of("f_alias").function.names, ["f", "f_alias"]);
}

#[test]
fn a_call_that_ends_in_a_tail_jump_ends_at_the_exits_of_its_target() {
    let caller = function("caller", "test %edi, %edi\n jne f\n mov $1, %eax\n ret");
    let library = Library::assemble(&(function("f", PROTECTED) + &caller));
    let plan = library.plan_of("caller");
    let own = plan.exits.unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].kind, ExitKind::Return);
    let [Continuation { function, exits }] = &plan.continuations[..] else {
        panic!("{:?}", plan.continuations)
    };
    assert_eq!(function.vaddr, library.vaddr("f"));
    assert_eq!(exits[0].frame_offset, 32);
}

#[test]
fn a_tail_jump_to_another_image_has_no_exit_on_any_path_and_names_its_symbol() {
    let always =
        "push %rbx\n.cfi_def_cfa_offset 16\n pop %rbx\n.cfi_def_cfa_offset 8\n jmp elsewhere@PLT";
    let sometimes = "test %edi, %edi\n je 1f\n jmp elsewhere@PLT\n1: ret";
    let through_a_pointer = "test %edi, %edi\n je 1f\n jmp *elsewhere@GOTPCREL(%rip)\n1: ret";
    for body in [always, sometimes, through_a_pointer] {
        let plan = Library::assemble(&function("f", body)).plan_of("f");
        let Err(NoExit::LeavesImage { symbol, .. }) = &plan.exits else {
            panic!("{body}: {:?}", plan.exits)
        };
        assert_eq!(symbol, "elsewhere");
        assert!(plan.continuations.is_empty());
    }
}

#[test]
fn a_destructor_that_ends_in_freeing_memory_ends_at_that_jump() {
    let library = Library::assemble(&function(
        "f",
        "push %rbx\n.cfi_def_cfa_offset 16\n test %edi, %edi\n je 1f\n pop %rbx\n\
         .cfi_remember_state\n.cfi_def_cfa_offset 8\n jmp _ZdlPvm@PLT\n\
         1: .cfi_restore_state\n pop %rbx\n.cfi_def_cfa_offset 8\n ret",
    ));
    let plan = library.plan_of("f");
    let exits = plan.exits.unwrap();
    let kinds: Vec<_> = exits.iter().map(|exit| exit.kind).collect();
    assert_eq!(kinds, [ExitKind::Deallocation, ExitKind::Return]);
    assert!(exits[0].class.is_emulated());
    assert_eq!(exits[0].frame_offset, 8);
    assert!(plan.continuations.is_empty());
}

#[test]
fn an_indirect_tail_jump_has_no_exit() {
    let library = Library::assemble(&function(
        "f",
        "test %rdi, %rdi\n je 1f\n mov (%rdi), %rax\n jmp *8(%rax)\n1: ret",
    ));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::IndirectTailJump { .. })
    ));
}

#[test]
fn a_tail_jump_to_what_a_resolver_chooses_has_no_exit() {
    let resolver = function("chosen_when_loaded", PROTECTED).replace(
        "chosen_when_loaded,@function",
        "chosen_when_loaded,@gnu_indirect_function",
    );
    let body = "test %edi, %edi\n je 1f\n jmp chosen_when_loaded@PLT\n1: ret";
    let library = Library::assemble(&(resolver + &function("f", body)));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::IndirectTailJump { .. })
    ));
}

fn with_cold_part(cold_symbol: &str) -> String {
    format!(
        "{}.section .text.unlikely,\"ax\",@progbits\n{cold_symbol}\n.cfi_startproc\n\
         .cfi_def_cfa_offset 16\n.Lcold: test %esi, %esi\n jne .Lback\n xor %eax, %eax\n pop %rbx\n\
         .cfi_def_cfa_offset 8\n ret\n.cfi_endproc\n",
        function(
            "f",
            "push %rbx\n.cfi_def_cfa_offset 16\n test %edi, %edi\n jne .Lcold\n.Lback: mov $1, %eax\n\
             pop %rbx\n.cfi_def_cfa_offset 8\n ret",
        )
    )
}

#[test]
fn a_return_in_the_cold_part_is_an_exit_with_or_without_a_name() {
    for symbol in [".type f.cold,@function\nf.cold:", ""] {
        let library = Library::assemble(&with_cold_part(symbol));
        let plan = library.plan_of("f");
        assert_eq!(plan.ranges.len(), 2);
        let mut kinds: Vec<_> = plan.exits.unwrap().iter().map(|exit| exit.kind).collect();
        kinds.sort_by_key(|kind| *kind == ExitKind::ColdReturn);
        assert_eq!(kinds, [ExitKind::Return, ExitKind::ColdReturn]);
        assert!(plan.continuations.is_empty());
    }
}

const TABLE: &str = "
    cmp $2, %edi
    ja .Ldefault
    lea .Ltable(%rip), %rdx
    mov %edi, %edi
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    notrack jmp *%rax
.Lone: mov $1, %eax
    ret
.Ltwo: mov $2, %eax
    ret
.Ldefault: xor %eax, %eax
    ret
    .section .rodata
    .p2align 2
.Ltable: .long .Lone-.Ltable, .Ltwo-.Ltable, .Ldefault-.Ltable
    .text";

#[test]
fn a_jump_table_stays_inside_the_function() {
    let library = Library::assemble(&function("f", TABLE));
    let plan = library.plan_of("f");
    assert_eq!(
        plan.entry.class,
        SiteClass::Emulated(Emulated::ConditionalJump)
    );
    assert_eq!(plan.exits.unwrap().len(), 3);
}

#[test]
fn a_frameless_jump_through_an_unknown_table_may_leave_the_function() {
    let unbounded = TABLE.replace("cmp $2, %edi\n    ja .Ldefault", "");
    let library = Library::assemble(&function("f", &unbounded));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::IndirectTailJump { .. })
    ));
}

#[test]
fn shrink_wrapping_makes_the_first_conditional_jump_the_entry_and_never_the_exit() {
    let library = Library::assemble(&function(
        "f",
        "test %rdi, %rdi\n je 1f\n mov $1, %eax\n ret\n1: xor %eax, %eax\n ret",
    ));
    let plan = library.plan_of("f");
    assert_eq!(
        plan.entry.class,
        SiteClass::Emulated(Emulated::ConditionalJump)
    );
    assert_eq!(plan.entry.frame_offset, 8);
    let exits = plan.exits.unwrap();
    assert!(exits.iter().all(|exit| exit.vaddr != plan.entry.vaddr));
    assert_eq!(exits.len(), 2);
}

#[test]
fn a_function_that_only_returns_has_no_exit_of_its_own() {
    let library = Library::assemble(&function("f", "ret"));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::SharesEntry { .. })
    ));
}

#[test]
fn a_loop_to_the_first_instruction_leaves_no_entry() {
    let library = Library::assemble(&function("f", "dec %edi\n jne f\n ret"));
    let plan = library.plan(&library.request("f"));
    assert!(matches!(plan, Err(PlanError::Entry(NoEntry::LoopHead))));
}

#[test]
fn a_loop_is_not_entered_at_its_own_head() {
    let library = Library::assemble(&function("f", "mov %edi, %eax\n1: dec %eax\n jne 1b\n ret"));
    let entry = library.plan_of("f").entry;
    assert_eq!(entry.vaddr, library.vaddr("f"));
    assert_eq!(entry.class, SiteClass::SingleStepped(Stepped::Other));
}

#[test]
fn a_function_that_other_code_enters_in_its_middle_has_no_exits() {
    let intruder = function(
        "intruder",
        "mov $7, %edi\n .byte 0xe9\n .long .Linside - . - 4",
    );
    let body = "push %rbx\n.cfi_def_cfa_offset 16\n pop %rbx\n.cfi_def_cfa_offset 8\n.Linside: mov %edi, %eax\n ret";
    let library = Library::assemble(&(function("f", body) + &intruder));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::EnteredInside { .. })
    ));
}

#[test]
fn without_unwind_table_there_is_an_entry_and_the_reason_for_no_exit() {
    let bare = ".globl f\n.type f,@function\nf: push %rbx\n pop %rbx\n ret\n.size f, .-f\n";
    let library = Library::assemble(&(bare.to_owned() + &function("g", PROTECTED)));
    let plan = library.plan_of("f");
    assert_eq!(plan.entry.class, SiteClass::Emulated(Emulated::Push));
    assert!(matches!(plan.exits, Err(NoExit::NoUnwindEntry)));
    let library = Library::assemble(bare);
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::Unwind { .. })
    ));
}

#[test]
fn an_unwind_table_that_contradicts_the_code_is_not_believed() {
    let library = Library::assemble(&function("f", "push %rbx\n mov $1, %eax\n pop %rbx\n ret"));
    assert!(matches!(
        library.plan_of("f").exits,
        Err(NoExit::UnwindMismatch { .. })
    ));
}

#[test]
fn a_frame_counted_from_rbp_is_counted_from_rsp_at_the_exit() {
    let library = Library::assemble(&function(
        "f",
        "push %rbp\n.cfi_def_cfa_offset 16\n mov %rsp, %rbp\n.cfi_def_cfa_register 6\n\
         push %rbx\n sub $24, %rsp\n call work@PLT\n mov %rax, %rbx\n cmp $0, %edi\n jne .Lfail\n\
         mov %rbx, %rax\n mov -8(%rbp), %rbx\n leave\n.cfi_remember_state\n.cfi_def_cfa 7, 8\n ret\n\
         .Lfail:\n.cfi_restore_state\n call __stack_chk_fail@PLT",
    ));
    let exits = library.plan_of("f").exits.unwrap();
    assert_eq!(
        exits[0].class,
        SiteClass::Emulated(Emulated::ConditionalJump)
    );
    assert_eq!(exits[0].frame_offset, 48);
    let rbx = ResultLocation::Register {
        register: Register::Rbx,
        width: 8,
    };
    assert_eq!(exits[0].result, rbx);
}

#[test]
fn a_call_is_no_entry_where_there_is_a_shadow_stack() {
    let body = "sub $8, %rsp\n.cfi_def_cfa_offset 16\n call work@PLT\n add $8, %rsp\n\
                .cfi_def_cfa_offset 8\n ret";
    let library = Library::assemble(&function("f", body));
    let mut request = library.request("f");
    assert_eq!(
        library.plan(&request).unwrap().entry.class,
        SiteClass::Emulated(Emulated::Call)
    );
    request.shadow_stack = true;
    assert!(!library.plan(&request).unwrap().entry.class.is_emulated());
}

#[test]
fn where_a_stepped_return_is_too_expensive_the_plan_says_so() {
    let library = Library::assemble(&function(
        "f",
        "push %rbx\n.cfi_def_cfa_offset 16\n call work@PLT\n pop %rbx\n.cfi_def_cfa_offset 8\n ret",
    ));
    let mut request = library.request("f");
    request.exits = ExitPreference::Emulated;
    assert!(matches!(
        library.plan(&request).unwrap().exits,
        Err(NoExit::OnlyStepped { .. })
    ));
}

#[test]
fn a_call_after_the_jump_keeps_the_jump_from_being_the_exit() {
    // The jump to the end passes no call on one side and one on the other: only the return is certain.
    let library = Library::assemble(&function(
        "f",
        "push %rbx\n.cfi_def_cfa_offset 16\n call work@PLT\n test %eax, %eax\n je 1f\n call work@PLT\n\
         1: pop %rbx\n.cfi_def_cfa_offset 8\n ret",
    ));
    let exits = library.plan_of("f").exits.unwrap();
    assert_eq!(
        exits.iter().map(|exit| exit.kind).collect::<Vec<_>>(),
        [ExitKind::Return]
    );
}

#[test]
fn headers_say_what_the_library_is() {
    let library = Library::assemble(&function("f", PROTECTED));
    assert_eq!(
        library.image.soname().unwrap().as_deref(),
        Some("libsites.so.1")
    );
    assert_eq!(library.image.build_id().unwrap().unwrap().len(), 20);
    assert!(library.image.needed().unwrap().is_empty());
    assert_eq!(library.image.debuglink().unwrap(), None);
    assert!(library.image.exported("g").unwrap().is_none());
    let found = library.image.functions_matching("f", |_| true, 8).unwrap();
    assert_eq!(found[0].name, "f");
}
