// A shim between px and the disk, loaded with LD_PRELOAD. It writes down everything that changes files below one folder, in the
// order in which it happened, so that disk_model.py can say what a loss of power would have left; and it makes an operation fail.
//   PX_DISK_ROOT   the folder; without it the shim does nothing
//   PX_DISK_LOG    the file the operations are appended to (outside the folder)
//   PX_DISK_FAIL   EIO:N: the Nth operation fails, once; ENOSPC:N: from the Nth on, whatever needs space fails
// One lock is held over an operation and its entry, so the order of the log is the order on the disk. Reading is left alone.
// What is written through a mapping is not seen; the log names the file, and the model takes it for lost.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum Operation { kOpen = 1, kWrite, kTruncate, kSync, kRename, kLink, kUnlink, kMkdir, kRmdir, kMap, kSyncAll, kFailed };

// As disk_model.py reads it; the two paths and the bytes follow.
struct Entry {
    uint32_t operation;
    uint32_t path_bytes;
    uint32_t other_bytes;
    uint32_t data_bytes;
    uint64_t inode;
    int64_t at;  // offset, size or flags
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_bytes;
static int log_file = -1;
static int fail_with;
static long fail_at;
static long counted;

#define NEXT(name) \
    static __typeof__(name)* next; \
    if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char* folder = getenv("PX_DISK_ROOT");
    if (folder == NULL || realpath(folder, root) == NULL) return;
    root_bytes = strlen(root);
    const char* log = getenv("PX_DISK_LOG");
    if (log != NULL) {
        const int opened = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        log_file = fcntl(opened, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, opened);
    }
    const char* fail = getenv("PX_DISK_FAIL");
    if (fail != NULL) {
        fail_with = strncmp(fail, "ENOSPC:", 7) == 0 ? ENOSPC : EIO;
        fail_at = atol(strchr(fail, ':') + 1);
    }
}

static void die(const char* why) {
    dprintf(2, "disk.c: %s\n", why);
    abort();
}

static void note(enum Operation operation, const char* path, const char* other, uint64_t inode, int64_t at, const void* data, size_t bytes) {
    if (log_file < 0) return;
    const struct Entry entry = {operation, (uint32_t)strlen(path), (uint32_t)strlen(other), (uint32_t)bytes, inode, at};
    const struct iovec parts[] = {{(void*)&entry, sizeof entry}, {(void*)path, entry.path_bytes}, {(void*)other, entry.other_bytes}, {(void*)data, bytes}};
    const long all = (long)(sizeof entry + entry.path_bytes + entry.other_bytes + bytes);
    if (syscall(SYS_writev, log_file, parts, 4) != all) die("the log can't be written");
}

// The path below the root, or false. Takes out "." and "..".
static int below(int folder, const char* path, char* out) {
    char full[2 * PATH_MAX];
    if (root_bytes == 0 || path == NULL) return 0;
    if (path[0] == '/') {
        snprintf(full, sizeof full, "%s", path);
    } else {
        char base[PATH_MAX];
        if (folder == AT_FDCWD) {
            if (getcwd(base, sizeof base) == NULL) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            const ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = '\0';
        }
        snprintf(full, sizeof full, "%s/%s", base, path);
    }
    char* parts[512];
    int count = 0;
    char* rest = NULL;
    for (char* part = strtok_r(full, "/", &rest); part != NULL && count < 512; part = strtok_r(NULL, "/", &rest)) {
        if (strcmp(part, ".") == 0) continue;
        if (strcmp(part, "..") == 0) {
            if (count > 0) --count;
            continue;
        }
        parts[count++] = part;
    }
    char clean[PATH_MAX] = "";
    size_t length = 0;
    for (int i = 0; i < count; ++i) length += (size_t)snprintf(clean + length, sizeof clean - length, "/%s", parts[i]);
    if (strncmp(clean, root, root_bytes) != 0 || (clean[root_bytes] != '/' && clean[root_bytes] != '\0')) return 0;
    strcpy(out, clean[root_bytes] == '\0' ? "" : clean + root_bytes + 1);
    return 1;
}

static int below_open(int descriptor, char* out) {
    char link[64], path[PATH_MAX];
    if (root_bytes == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return path[0] == '/' && below(AT_FDCWD, path, out);
}

static uint64_t inode_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

static int64_t size_of(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_size : 0;
}

// Called under the lock. True: this operation fails, errno is set. grows: it needs space.
static int fails(const char* path, int grows) {
    if (fail_at == 0) return 0;
    if (fail_with == ENOSPC && !grows) return 0;
    ++counted;
    if (fail_with == ENOSPC ? counted < fail_at : counted != fail_at) return 0;
    note(kFailed, path, "", 0, fail_with, "", 0);
    errno = fail_with;
    return 1;
}

// ---- what opens files --------------------------------------------------------------------------------

static int open_below(int folder, const char* path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if ((flags & O_ACCMODE) == O_RDONLY && (flags & (O_CREAT | O_TRUNC)) == 0) return (int)syscall(SYS_openat, folder, path, flags, mode);
    if (!below(folder, path, name)) return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    int opened = -1;
    struct stat before;
    const int there = fstatat(folder, path, &before, 0) == 0;
    if (!fails(name, (flags & O_CREAT) != 0 && !there)) {
        opened = (int)syscall(SYS_openat, folder, path, flags, mode);
        if (opened >= 0) {
            const int why = errno;
            if ((flags & (O_SYNC | O_DSYNC)) != 0) die("a file is opened with O_SYNC, which the model does not know");
            note(kOpen, name, "", inode_of(opened), flags, "", 0);
            errno = why;
        }
    }
    pthread_mutex_unlock(&lock);
    return opened;
}

static mode_t mode_of(int flags, va_list list) {
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char* path, int flags, ...) { \
        va_list list; \
        va_start(list, flags); \
        const mode_t mode = mode_of(flags, list); \
        va_end(list); \
        return open_below(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char* path, int flags, ...) { \
        va_list list; \
        va_start(list, flags); \
        const mode_t mode = mode_of(flags, list); \
        va_end(list); \
        return open_below(folder, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int __open_2(const char* path, int flags) { return open_below(AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags) { return open_below(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char* path, int flags) { return open_below(folder, path, flags, 0); }
int __openat64_2(int folder, const char* path, int flags) { return open_below(folder, path, flags, 0); }
int creat(const char* path, mode_t mode) { return open_below(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) { return open_below(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

// A stream: opened as a file, then handed to the library. What it writes goes through its own calls, unseen: only std::ofstream,
// which writes to the descriptor itself, may be used below the root.
static FILE* fopen_below(const char* path, const char* mode, FILE* (*next)(const char*, const char*)) {
    char name[PATH_MAX];
    if (mode[0] == 'r' && strchr(mode, '+') == NULL) return next(path, mode);
    if (!below(AT_FDCWD, path, name)) return next(path, mode);
    pthread_mutex_lock(&lock);
    FILE* stream = NULL;
    struct stat before;
    if (!fails(name, stat(path, &before) != 0)) {
        stream = next(path, mode);
        if (stream != NULL) note(kOpen, name, "", inode_of(fileno(stream)), O_CREAT | (mode[0] == 'w' ? O_TRUNC : 0), "", 0);
    }
    pthread_mutex_unlock(&lock);
    return stream;
}
FILE* fopen(const char* path, const char* mode) {
    NEXT(fopen);
    return fopen_below(path, mode, next);
}
FILE* fopen64(const char* path, const char* mode) {
    NEXT(fopen64);
    return fopen_below(path, mode, next);
}

// ---- what writes bytes ---------------------------------------------------------------------------------

// at < 0: at the position of the descriptor.
static ssize_t write_below(int descriptor, const struct iovec* parts, int count, int64_t at) {
    char name[PATH_MAX];
    if (!below_open(descriptor, name)) {
        return at < 0 ? syscall(SYS_writev, descriptor, parts, count) : syscall(SYS_pwritev, descriptor, parts, count, (long)at, 0L);
    }
    pthread_mutex_lock(&lock);
    size_t asked = 0;
    for (int i = 0; i < count; ++i) asked += parts[i].iov_len;
    char* bytes = malloc(asked + 1);
    asked = 0;
    for (int i = 0; i < count; ++i) {
        memcpy(bytes + asked, parts[i].iov_base, parts[i].iov_len);
        asked += parts[i].iov_len;
    }
    const int64_t from = at >= 0 ? at : (fcntl(descriptor, F_GETFL) & O_APPEND) != 0 ? size_of(descriptor) : lseek(descriptor, 0, SEEK_CUR);
    ssize_t written = -1;
    const int fault = fails(name, from + (int64_t)asked > size_of(descriptor));
    // A disk that runs full takes what still fits: half of the first such write.
    const int short_write = fault && fail_with == ENOSPC && counted == fail_at && asked > 1;
    if (!fault || short_write) {
        const size_t allowed = short_write ? asked / 2 : asked;
        written = at < 0 ? syscall(SYS_write, descriptor, bytes, allowed) : syscall(SYS_pwrite64, descriptor, bytes, allowed, (long)at);
        const int why = errno;
        if (written > 0) note(kWrite, name, "", inode_of(descriptor), from, bytes, (size_t)written);
        errno = why;
    }
    const int why = errno;
    free(bytes);
    errno = why;
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int descriptor, const void* data, size_t bytes) {
    return write_below(descriptor, &(struct iovec){(void*)data, bytes}, 1, -1);
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t at) {
    return write_below(descriptor, &(struct iovec){(void*)data, bytes}, 1, at);
}
ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off64_t at) {
    return write_below(descriptor, &(struct iovec){(void*)data, bytes}, 1, at);
}
ssize_t writev(int descriptor, const struct iovec* parts, int count) { return write_below(descriptor, parts, count, -1); }
ssize_t pwritev(int descriptor, const struct iovec* parts, int count, off_t at) { return write_below(descriptor, parts, count, at); }
ssize_t pwritev64(int descriptor, const struct iovec* parts, int count, off64_t at) { return write_below(descriptor, parts, count, at); }

// Copies inside the kernel: said not to work here, so that the caller writes the bytes itself.
ssize_t copy_file_range(int in, off64_t* in_at, int out, off64_t* out_at, size_t bytes, unsigned flags) {
    char name[PATH_MAX];
    if (!below_open(out, name)) return syscall(SYS_copy_file_range, in, in_at, out, out_at, bytes, flags);
    errno = EXDEV;
    return -1;
}
ssize_t sendfile(int out, int in, off_t* at, size_t bytes) {
    char name[PATH_MAX];
    if (!below_open(out, name)) return syscall(SYS_sendfile, out, in, at, bytes);
    errno = EINVAL;
    return -1;
}
ssize_t sendfile64(int out, int in, off64_t* at, size_t bytes) { return sendfile(out, in, at, bytes); }

static int truncate_below(int descriptor, int64_t size) {
    char name[PATH_MAX];
    if (!below_open(descriptor, name)) return (int)syscall(SYS_ftruncate, descriptor, (long)size);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails(name, size > size_of(descriptor))) {
        result = (int)syscall(SYS_ftruncate, descriptor, (long)size);
        if (result == 0) note(kTruncate, name, "", inode_of(descriptor), size, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int descriptor, off_t size) { return truncate_below(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) { return truncate_below(descriptor, size); }
int truncate(const char* path, off_t size) {
    char name[PATH_MAX];
    if (below(AT_FDCWD, path, name)) die("truncate by path, which the model does not know");
    return (int)syscall(SYS_truncate, path, (long)size);
}
// Space laid aside beforehand: said not to work here.
int fallocate(int descriptor, int mode, off_t at, off_t bytes) {
    char name[PATH_MAX];
    if (!below_open(descriptor, name)) return (int)syscall(SYS_fallocate, descriptor, mode, at, bytes);
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate64(int descriptor, int mode, off64_t at, off64_t bytes) { return fallocate(descriptor, mode, at, bytes); }
int posix_fallocate(int descriptor, off_t at, off_t bytes) { return fallocate(descriptor, 0, at, bytes) == 0 ? 0 : errno; }
int posix_fallocate64(int descriptor, off64_t at, off64_t bytes) { return posix_fallocate(descriptor, at, bytes); }

void* mmap(void* address, size_t bytes, int protection, int flags, int descriptor, off_t at) {
    char name[PATH_MAX];
    if (descriptor >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE && (protection & PROT_WRITE) != 0 && below_open(descriptor, name)) {
        pthread_mutex_lock(&lock);
        note(kMap, name, "", inode_of(descriptor), 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return (void*)syscall(SYS_mmap, address, bytes, protection, flags, descriptor, at);
}
void* mmap64(void* address, size_t bytes, int protection, int flags, int descriptor, off64_t at) {
    return mmap(address, bytes, protection, flags, descriptor, at);
}

// ---- what makes durable ----------------------------------------------------------------------------------

static int sync_below(int descriptor, long call) {
    char name[PATH_MAX];
    if (!below_open(descriptor, name)) return (int)syscall(call, descriptor);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails(name, 0)) {
        // The folder is thrown away: nothing needs to reach a disk.
        result = 0;
        note(kSync, name, "", inode_of(descriptor), 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int fsync(int descriptor) { return sync_below(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_below(descriptor, SYS_fdatasync); }
int syncfs(int descriptor) {
    char name[PATH_MAX];
    if (below_open(descriptor, name)) die("syncfs, which the model does not know");
    return (int)syscall(SYS_syncfs, descriptor);
}
int sync_file_range(int descriptor, off64_t at, off64_t bytes, unsigned flags) {  // promises nothing
    return (int)syscall(SYS_sync_file_range, descriptor, at, bytes, flags);
}

// ---- what changes names -------------------------------------------------------------------------------------

static int rename_below(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    char name[PATH_MAX], other[PATH_MAX];
    if (!below(to_folder, to, other)) return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    if (!below(from_folder, from, name)) die("a file is moved into the folder from outside, which the model does not know");
    if ((flags & ~(unsigned)RENAME_NOREPLACE) != 0) die("an exchanging rename, which the model does not know");
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails(other, 0)) {
        result = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
        if (result == 0) note(kRename, name, other, 0, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int rename(const char* from, const char* to) { return rename_below(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_folder, const char* from, int to_folder, const char* to) { return rename_below(from_folder, from, to_folder, to, 0); }
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    return rename_below(from_folder, from, to_folder, to, flags);
}

static int link_below(int from_folder, const char* from, int to_folder, const char* to, int flags) {
    char other[PATH_MAX];
    if (!below(to_folder, to, other)) return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails(other, 1)) {
        result = (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
        struct stat status;
        if (result == 0 && fstatat(to_folder, to, &status, AT_SYMLINK_NOFOLLOW) == 0) note(kLink, other, "", status.st_ino, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int link(const char* from, const char* to) { return link_below(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) { return link_below(from_folder, from, to_folder, to, flags); }

static int unlink_below(int folder, const char* path, int flags) {
    char name[PATH_MAX];
    if (!below(folder, path, name)) return (int)syscall(SYS_unlinkat, folder, path, flags);
    pthread_mutex_lock(&lock);
    const int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (result == 0) note((flags & AT_REMOVEDIR) != 0 ? kRmdir : kUnlink, name, "", 0, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char* path) { return unlink_below(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char* path, int flags) { return unlink_below(folder, path, flags); }
int rmdir(const char* path) { return unlink_below(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) {
    const int result = unlink_below(AT_FDCWD, path, 0);
    return result != 0 && errno == EISDIR ? unlink_below(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

static int mkdir_below(int folder, const char* path, mode_t mode) {
    char name[PATH_MAX];
    if (!below(folder, path, name)) return (int)syscall(SYS_mkdirat, folder, path, mode);
    pthread_mutex_lock(&lock);
    int result = -1;
    struct stat before;
    if (fstatat(folder, path, &before, 0) == 0) {
        errno = EEXIST;
    } else if (!fails(name, 1)) {
        result = (int)syscall(SYS_mkdirat, folder, path, mode);
        struct stat status;
        if (result == 0 && fstatat(folder, path, &status, 0) == 0) note(kMkdir, name, "", status.st_ino, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int mkdir(const char* path, mode_t mode) { return mkdir_below(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char* path, mode_t mode) { return mkdir_below(folder, path, mode); }
