/* A failing disk, for LD_PRELOAD. While the file $WICKET_FAIL_WRITES exists, writes to data.mdb
 * fail with EIO, if they are of the kind that the file's first letter names: d(ata pages), s(ync),
 * m(eta pages, the root of everything). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, char kind) {
  const char *path = getenv("WICKET_FAIL_WRITES");
  char link[64], target[4096], wanted = 0;
  int control;
  ssize_t bytes;
  if (!path || (control = open(path, O_RDONLY | O_CLOEXEC)) < 0) return 0;
  bytes = read(control, &wanted, 1);
  close(control);
  if (bytes != 1 || wanted != kind) return 0;
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  bytes = readlink(link, target, sizeof(target) - 1);
  if (bytes < 0) return 0;
  target[bytes] = 0;
  if (!strstr(target, "/data.mdb")) return 0;
  errno = EIO;
  return 1;
}

/* LMDB writes whole pages, except meta pages, of which it writes only the changed part. */
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  return fails(fd, count < 4096 ? 'm' : 'd') ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
  return pwrite(fd, bytes, count, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return fails(fd, 'd') ? -1 : syscall(SYS_writev, fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  return fails(fd, 'd') ? -1 : syscall(SYS_pwritev, fd, parts, count, offset, 0);
}
ssize_t write(int fd, const void *bytes, size_t count) {
  return fails(fd, 'd') ? -1 : syscall(SYS_write, fd, bytes, count);
}
int fdatasync(int fd) { return fails(fd, 's') ? -1 : (int)syscall(SYS_fdatasync, fd); }
int fsync(int fd) { return fails(fd, 's') ? -1 : (int)syscall(SYS_fsync, fd); }
