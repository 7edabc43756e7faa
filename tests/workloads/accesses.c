/* usage: accesses WAY FILE [OTHER]
 *        accesses as-long-as PROGRAM ARGUMENTS...
 *        accesses without FOLDER PROGRAM ARGUMENTS...
 *
 * Touches a file in one way, and ends: 0 done, 77 this kernel or file system has no such way, else it
 * went wrong. `as-long-as` becomes a program, which is interrupted when standard input ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fsverity.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

static char bytes[8192] __attribute__((aligned(4096)));

static void fail(const char *what)
{
	int missing = errno == ENOSYS || errno == EOPNOTSUPP || errno == ENODEV || errno == EPERM ||
		      errno == EINVAL;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(missing ? SKIPPED : 1);
}

static int check(long answer, const char *what)
{
	if (answer < 0)
		fail(what);
	return (int)answer;
}

static void read_and_close(int fd)
{
	check(fd, "open");
	check(read(fd, bytes, sizeof bytes), "read");
	close(fd);
}

static int opened(const char *file, int flags)
{
	return check(open(file, flags, 0644), "open");
}

static void again_through_proc(int fd, int flags)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	read_and_close(open(path, flags));
}

static void *mapped(int fd, int protection, int flags)
{
	void *at = mmap(NULL, 4096, protection, flags, fd, 0);
	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

/* A ring with one entry of each kind at a time; `polled` lets the kernel's thread submit. */
struct uring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	int polled;
};

static void uring_open(struct uring *ring, int polled)
{
	struct io_uring_params p = { .flags = polled ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 1000 };
	ring->polled = polled;
	ring->fd = check(syscall(SYS_io_uring_setup, 4, &p), "io_uring_setup");
	size_t sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *s = mmap(NULL, sq, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	char *c = mmap(NULL, cq, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			  MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (s == MAP_FAILED || c == MAP_FAILED || ring->sqes == MAP_FAILED)
		fail("map a ring");
	ring->sq_tail = (unsigned *)(s + p.sq_off.tail);
	ring->sq_mask = (unsigned *)(s + p.sq_off.ring_mask);
	ring->sq_array = (unsigned *)(s + p.sq_off.array);
	ring->sq_flags = (unsigned *)(s + p.sq_off.flags);
	ring->cq_head = (unsigned *)(c + p.cq_off.head);
	ring->cq_tail = (unsigned *)(c + p.cq_off.tail);
	ring->cq_mask = (unsigned *)(c + p.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(c + p.cq_off.cqes);
}

static int uring_do(struct uring *ring, struct io_uring_sqe sqe)
{
	unsigned tail = *ring->sq_tail, slot = tail & *ring->sq_mask;
	ring->sqes[slot] = sqe;
	ring->sq_array[slot] = slot;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	unsigned flags = IORING_ENTER_GETEVENTS;
	if (ring->polled && (__atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP))
		flags |= IORING_ENTER_SQ_WAKEUP;
	check(syscall(SYS_io_uring_enter, ring->fd, ring->polled ? 0 : 1, 1, flags, NULL, 0),
	      "io_uring_enter");
	unsigned head = *ring->cq_head;
	while (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		sched_yield();
	int answer = ring->cqes[head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	if (answer < 0) {
		errno = -answer;
		fail("a request of io_uring");
	}
	return answer;
}

static void uring(const char *file, int polled)
{
	struct uring ring;
	uring_open(&ring, polled);
	int fd = uring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
							.addr = (uintptr_t)file, .open_flags = O_RDONLY });
	uring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = fd,
					       .addr = (uintptr_t)bytes, .len = 4096 });
}

/* A descriptor without a number, and a buffer that was registered before. */
static void uring_direct(const char *file)
{
	struct uring ring;
	int none = -1;
	struct iovec buffer = { bytes, 4096 };
	uring_open(&ring, 0);
	check(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &none, 1), "register");
	check(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &buffer, 1), "register");
	uring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					       .addr = (uintptr_t)file, .open_flags = O_RDONLY,
					       .file_index = 1 });
	uring_do(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_READ_FIXED, .fd = 0,
					       .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)bytes,
					       .len = 4096, .buf_index = 0 });
}

static void aio(const char *file)
{
	aio_context_t context = 0;
	struct io_event event;
	check(syscall(SYS_io_setup, 1, &context), "io_setup");
	struct iocb request = { .aio_fildes = opened(file, O_RDONLY), .aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_buf = (uintptr_t)bytes, .aio_nbytes = 4096 };
	struct iocb *list[] = { &request };
	check(syscall(SYS_io_submit, context, 1, list), "io_submit");
	check(syscall(SYS_io_getevents, context, 1, 1, &event, NULL), "io_getevents");
}

static void by_handle(const char *file)
{
	struct file_handle *handle = calloc(1, sizeof *handle + MAX_HANDLE_SZ);
	int mount;
	handle->handle_bytes = MAX_HANDLE_SZ;
	check(name_to_handle_at(AT_FDCWD, file, handle, &mount, 0), "name_to_handle_at");
	char *folder = strdup(file);
	*strrchr(folder, '/') = 0;
	int at = opened(folder, O_RDONLY | O_DIRECTORY);
	read_and_close(open_by_handle_at(at, handle, O_RDONLY));
}

/* The child that opened nothing reads what comes over the socket. */
static void passed(const char *file)
{
	int pair[2], status;
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	pid_t child = check(fork(), "fork");
	char data = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec vector = { &data, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = room,
				  .msg_controllen = sizeof room };
	struct cmsghdr *header = (struct cmsghdr *)room;
	if (child == 0) {
		check(recvmsg(pair[1], &message, 0), "recvmsg");
		int fd;
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
		read_and_close(fd);
		exit(0);
	}
	printf("%d\n", child);
	int fd = opened(file, O_RDONLY);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	check(sendmsg(pair[0], &message, 0), "sendmsg");
	waitpid(child, &status, 0);
	exit(status != 0);
}

static void inherited(const char *file, const char *self)
{
	char number[16];
	snprintf(number, sizeof number, "%d", opened(file, O_RDONLY));
	execl(self, self, "descriptor", number, NULL);
	fail("exec");
}

static void in_namespace(const char *file, const char *at, const char *type)
{
	char *folder = strdup(file), data[4096], path[4096];
	*strrchr(folder, '/') = 0;
	check(unshare(CLONE_NEWNS), "unshare");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
	check(mkdir(at, 0755), "mkdir");
	if (strcmp(type, "bind") == 0)
		check(mount(folder, at, NULL, MS_BIND, NULL), "bind");
	else {
		snprintf(data, sizeof data, "lowerdir=%s:%s", folder, at);
		check(mount("overlay", at, "overlay", 0, data), "mount an overlay");
	}
	snprintf(path, sizeof path, "%s/%s", at, strrchr(file, '/') + 1);
	read_and_close(open(path, O_RDONLY));
}

/* Until something comes on standard input, or it ends. */
static void hold(void)
{
	puts("holding");
	check(read(0, bytes, 1), "read standard input");
}

static void rooted(const char *file, int holds)
{
	char *folder = strdup(file);
	*strrchr(folder, '/') = 0;
	check(chroot(folder), "chroot");
	int fd = opened(strrchr(file, '/'), O_RDONLY);
	if (holds)
		hold();
	read_and_close(fd);
}

/* In a container: mounts, processes and a root of its own, with the file's folder mounted at /models.
 * Prints the number that the process has outside, which holds the file open and reads it then. If it
 * `moves`, it opens and holds it once more where the folder is moved to, at /moved. */
static int contained(const char *file, const char *root, int moves)
{
	char *folder = strdup(file), path[4096];
	*strrchr(folder, '/') = 0;
	check(unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
	check(mkdir(root, 0755), "mkdir");
	check(mount("root", root, "tmpfs", 0, NULL), "mount a root");
	check(chdir(root), "chdir");
	check(mkdir("models", 0755), "mkdir");
	check(mkdir("old", 0755), "mkdir");
	check(mount(folder, "models", NULL, MS_BIND, NULL), "bind");
	int told[2];
	check(pipe(told), "pipe");
	pid_t child = check(fork(), "fork");
	if (child != 0) {
		int status;
		printf("%d\n", child);
		check(write(told[1], "", 1), "let it go on");
		waitpid(child, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	check(read(told[0], bytes, 1), "wait until its number is told");
	if (syscall(SYS_pivot_root, ".", "old") == 0) {
		check(chdir("/"), "chdir");
		check(umount2("/old", MNT_DETACH), "umount");
	} else {
		/* The first root of all, in memory, is never taken away, as container runtimes know. */
		check(mount(".", "/", NULL, MS_MOVE, NULL), "move a mount");
		check(chroot("."), "chroot");
		check(chdir("/"), "chdir");
	}
	snprintf(path, sizeof path, "/models/%s", strrchr(file, '/') + 1);
	int fd = opened(path, O_RDONLY);
	hold();
	if (moves) {
		close(fd);
		check(mkdir("/moved", 0755), "mkdir");
		check(mount("/models", "/moved", NULL, MS_MOVE, NULL), "move a mount");
		snprintf(path, sizeof path, "/moved/%s", strrchr(file, '/') + 1);
		fd = opened(path, O_RDONLY);
		hold();
	}
	read_and_close(fd);
	return 0;
}

/* The bytes in a file that is memory alone: in ordinary pages, or in huge ones. */
static void copied_to_memory(const char *file, unsigned flags)
{
	size_t length = 2 << 20;
	int from = opened(file, O_RDONLY);
	int to = check(syscall(SYS_memfd_create, "copy", flags), "memfd_create");
	check(ftruncate(to, length), "ftruncate");
	char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
	if (at == MAP_FAILED)
		exit(errno == ENOMEM ? SKIPPED : 1);
	check(read(from, at, sizeof bytes), "read");
}

/* A file without a name in the folder of another one, which then gets a name. */
static void nameless(const char *file, const char *name)
{
	char *folder = strdup(file), path[64];
	*strrchr(folder, '/') = 0;
	int fd = opened(folder, O_TMPFILE | O_RDWR);
	struct stat about;
	check(write(fd, "bytes", 5), "write");
	check(fstat(fd, &about), "fstat");
	printf("%lu\n", (unsigned long)about.st_ino);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	check(linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW), "linkat");
}

/* Runs a program that finds an empty folder where something was. */
static void without(const char *folder, char **program)
{
	check(unshare(CLONE_NEWNS), "unshare");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
	check(mount("nothing", folder, "tmpfs", 0, NULL), "mount nothing");
	execv(program[0], program);
	fail("exec");
}

static void compat(const char *file)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		fail("mmap");
	strcpy(low, file);
	long answer;
	/* Number 5 is open for 32-bit programs. */
	__asm__ volatile("int $0x80" : "=a"(answer) : "a"(5L), "b"(low), "c"(O_RDONLY), "d"(0L) : "memory",
			 "r8", "r9", "r10", "r11");
	if (answer < 0) {
		errno = (int)-answer;
		fail("open as a 32-bit program does");
	}
	read_and_close((int)answer);
}

/* Lets the kernel check the file for ever, and prints the digest that it checks against. */
static void verity(const char *file)
{
	int fd = opened(file, O_RDONLY);
	struct fsverity_enable_arg how = { .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096 };
	check(ioctl(fd, FS_IOC_ENABLE_VERITY, &how), "enable fs-verity");
	struct fsverity_digest *digest = (void *)bytes;
	digest->digest_size = 64;
	check(ioctl(fd, FS_IOC_MEASURE_VERITY, digest), "measure fs-verity");
	printf("sha256:");
	for (int i = 0; i < digest->digest_size; i++)
		printf("%02x", digest->digest[i]);
	printf("\n");
}

/* Becomes a program, whose child interrupts it when standard input ends. */
static void as_long_as_input(char **program)
{
	pid_t self = getpid(), child = check(fork(), "fork");
	if (child != 0) {
		dup2(opened("/dev/null", O_RDONLY), 0);
		execv(program[0], program);
		fail("exec");
	}
	close(1);
	while (read(0, bytes, sizeof bytes) > 0)
		;
	if (getppid() == self)
		kill(self, SIGINT);
}

static void swap_link(const char *file, const char *link_path, const char *decoy)
{
	check(symlink(decoy, link_path), "symlink");
	check(access(link_path, R_OK), "access");
	check(unlink(link_path), "unlink");
	check(symlink(file, link_path), "symlink");
	read_and_close(open(link_path, O_RDONLY));
}

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	const char *way = words[1], *file = words[2], *other = count > 3 ? words[3] : NULL;
	setvbuf(stdout, NULL, _IONBF, 0);
#define IS(name) (strcmp(way, name) == 0)
	if (IS("as-long-as"))
		as_long_as_input(words + 2);
	else if (IS("without"))
		without(file, words + 3);
	else if (IS("hold-contained") || IS("hold-moved"))
		return contained(file, other, IS("hold-moved"));
	else if (IS("memory") || IS("huge"))
		copied_to_memory(file, IS("huge") ? MFD_HUGETLB : 0);
	else if (IS("nameless"))
		nameless(file, other);
	else if (IS("read"))
		read_and_close(open(file, O_RDONLY));
	else if (IS("map-input")) {
		volatile char *at = mapped(0, PROT_READ, MAP_PRIVATE);
		(void)at[0];
	} else if (IS("descriptor"))
		read_and_close(atoi(file));
	else if (IS("hold") || IS("hold-mapped") || IS("hold-writable")) {
		int fd = opened(file, IS("hold-writable") ? O_RDWR : O_RDONLY);
		if (IS("hold-mapped")) {
			mapped(fd, PROT_READ, MAP_SHARED);
			close(fd);
		}
		hold();
	} else if (IS("link")) {
		check(link(file, other), "link");
		read_and_close(open(other, O_RDONLY));
	} else if (IS("symlink"))
		swap_link(file, other, "/dev/null");
	else if (IS("bind") || IS("overlay"))
		in_namespace(file, other, way);
	else if (IS("replace"))
		check(rename(other, file), "rename");
	else if (IS("unlink")) {
		int fd = opened(file, O_RDONLY);
		check(unlink(file), "unlink");
		read_and_close(fd);
	} else if (IS("proc"))
		again_through_proc(opened(file, O_RDONLY), O_RDONLY);
	else if (IS("map-files")) {
		char path[128];
		char *at = mapped(opened(file, O_RDONLY), PROT_READ, MAP_SHARED);
		snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (long)at, (long)at + 4096);
		read_and_close(open(path, O_RDONLY));
	} else if (IS("openat2")) {
		struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_BENEATH };
		char *folder = strdup(file);
		*strrchr(folder, '/') = 0;
		int at = opened(folder, O_PATH);
		read_and_close(syscall(SYS_openat2, at, strrchr(file, '/') + 1, &how, sizeof how));
	} else if (IS("chroot") || IS("hold-chroot"))
		rooted(file, IS("hold-chroot"));
	else if (IS("copy")) {
		int to = opened(other, O_RDWR | O_CREAT);
		check(copy_file_range(opened(file, O_RDONLY), NULL, to, NULL, 4096, 0), "copy_file_range");
	} else if (IS("reuse")) {
		int one = opened(other, O_RDONLY);
		close(one);
		int two = opened(file, O_RDONLY);
		if (one != two)
			return SKIPPED;
		read_and_close(two);
	} else if (IS("handle"))
		by_handle(file);
	else if (IS("path-only"))
		again_through_proc(opened(file, O_PATH), O_RDONLY);
	else if (IS("uring") || IS("uring-polled"))
		uring(file, IS("uring-polled"));
	else if (IS("uring-direct"))
		uring_direct(file);
	else if (IS("passed"))
		passed(file);
	else if (IS("taken")) {
		pid_t parent = getpid(), child = check(fork(), "fork");
		int fd = opened(file, O_RDONLY);
		if (child == 0) {
			int process = check(syscall(SYS_pidfd_open, parent, 0), "pidfd_open");
			usleep(100000);
			read_and_close(syscall(SYS_pidfd_getfd, process, fd, 0));
			exit(0);
		}
		printf("%d\n", child);
		int status;
		waitpid(child, &status, 0);
		return WEXITSTATUS(status);
	} else if (IS("inherited"))
		inherited(file, words[0]);
	else if (IS("aio"))
		aio(file);
	else if (IS("preadv2")) {
		struct iovec vector = { bytes, 4096 };
		check(preadv2(opened(file, O_RDONLY), &vector, 1, 0, 0), "preadv2");
	} else if (IS("sendfile")) {
		int pipes[2];
		check(pipe(pipes), "pipe");
		check(sendfile(pipes[1], opened(file, O_RDONLY), NULL, 4096), "sendfile");
	} else if (IS("splice")) {
		int pipes[2];
		check(pipe(pipes), "pipe");
		check(splice(opened(file, O_RDONLY), NULL, pipes[1], NULL, 4096, 0), "splice");
	} else if (IS("compat"))
		compat(file);
	else if (IS("map")) {
		volatile char *at = mapped(opened(file, O_RDONLY), PROT_READ, MAP_PRIVATE);
		(void)at[0];
	} else if (IS("store")) {
		volatile char *at = mapped(opened(file, O_RDWR), PROT_READ | PROT_WRITE, MAP_SHARED);
		at[0] = 7;
	} else if (IS("write-back-in-time")) {
		struct stat before;
		int fd = opened(file, O_WRONLY);
		check(fstat(fd, &before), "fstat");
		check(write(fd, "x", 1), "write");
		struct timespec times[] = { before.st_atim, before.st_mtim };
		check(futimens(fd, times), "futimens");
	} else if (IS("punch"))
		check(fallocate(opened(file, O_RDWR), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
		      "punch a hole");
	else if (IS("truncate")) {
		struct stat before;
		check(stat(file, &before), "stat");
		check(truncate(file, 1), "truncate");
		check(truncate(file, before.st_size), "truncate");
	} else if (IS("direct")) {
		check(read(opened(file, O_RDONLY | O_DIRECT), bytes, 4096), "read");
	} else if (IS("fake-root")) {
		check(unshare(CLONE_NEWUSER), "unshare");
		read_and_close(open(file, O_RDONLY));
	} else if (IS("renamed-process")) {
		prctl(PR_SET_NAME, "kthreadd");
		read_and_close(open(file, O_RDONLY));
	} else if (IS("many")) {
		for (int i = 0; i < 100000; i++)
			close(opened(file, O_RDONLY));
	} else if (IS("crowd")) {
		for (int i = 0; i < 20000; i++) {
			pid_t child = check(vfork(), "vfork");
			if (child == 0) {
				int fd = open(file, O_RDONLY);
				_exit(fd < 0 || read(fd, bytes, 4096) < 0);
			}
			waitpid(child, NULL, 0);
		}
	} else if (IS("verity"))
		verity(file);
	else if (IS("mode"))
		check(chmod(file, 0600), "chmod");
	else if (IS("extended"))
		check(syscall(SYS_setxattr, file, "user.tracer", "x", 1, 0), "setxattr");
	else
		return 2;
	return 0;
}
