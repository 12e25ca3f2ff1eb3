"""Which system calls a jailed child may not make: pure policy, as a filter program for the kernel (seccomp).

The filter is a list of what is refused, not of what is allowed. A list of what is allowed has to know every call that
any version of the C library makes on any machine, and a gap in it would have honest documents rejected. What a list
of what is refused cannot know is what will be invented: so every call newer than `NEWEST` is answered as if the kernel
did not have it (ENOSYS), which libraries are used to, and so are calls whose arguments a filter cannot see.

A call is refused with EPERM. Only these are judged by their arguments:

- opening a file is refused unless it is for reading only;
- signals may be sent to oneself only, which is how a process aborts;
- limits may be read and set of oneself only;
- fcntl(2) is refused what locks a file, and what has the kernel send signals or tell of changes to a file;
- ioctl(2) is refused what changes a file's flags, since that needs no file that is open for writing.

A filter holds for one machine's numbers. A call with those of another (32 bits) ends the child; one of x32, whose
numbers are x86_64's with a bit above all others, is absent as what is new is.
"""

import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

NEWEST = 451  # cachestat, of Linux 6.5: the newest call that this list was made with

# name:number on x86_64:number on aarch64, "-" where there is none.
_REFUSED = """
# Sockets of any family.
socket:41:198 socketpair:53:199 connect:42:203 bind:49:200 listen:50:201 accept:43:202 accept4:288:242
sendto:44:206 recvfrom:45:207 sendmsg:46:211 recvmsg:47:212 sendmmsg:307:269 recvmmsg:299:243 shutdown:48:210
getsockname:51:204 getpeername:52:205 setsockopt:54:208 getsockopt:55:209
# Changing anything in a file system, by name or by open file; files in memory; locks; watches.
creat:85:- mkdir:83:- mkdirat:258:34 mknod:133:- mknodat:259:33 rename:82:- renameat:264:38 renameat2:316:276
link:86:- linkat:265:37 symlink:88:- symlinkat:266:36 unlink:87:- unlinkat:263:35 rmdir:84:- chmod:90:-
fchmod:91:52 fchmodat:268:53 chown:92:- fchown:93:55 lchown:94:- fchownat:260:54 truncate:76:45 ftruncate:77:46
fallocate:285:47 utime:132:- utimes:235:- futimesat:261:- utimensat:280:88 setxattr:188:5 lsetxattr:189:6
fsetxattr:190:7 removexattr:197:14 lremovexattr:198:15 fremovexattr:199:16 memfd_create:319:279
memfd_secret:447:447 flock:73:32 copy_file_range:326:285 open_by_handle_at:304:265 name_to_handle_at:303:264
inotify_init:253:- inotify_init1:294:26 fanotify_init:300:262
# Other programs, other processes, other namespaces.
execve:59:221 execveat:322:281 uselib:134:- fork:57:- vfork:58:- clone:56:220 unshare:272:97 setns:308:268
# Looking into other processes, signalling them, or changing how they run.
ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 process_madvise:440:440
process_mrelease:448:448 kcmp:312:272 pidfd_open:434:434 pidfd_getfd:438:438 pidfd_send_signal:424:424
tkill:200:130 rt_sigqueueinfo:129:138 rt_tgsigqueueinfo:297:240 setpriority:141:140 ioprio_set:251:30
sched_setparam:142:118 sched_setscheduler:144:119 sched_setattr:314:274 sched_setaffinity:203:122
migrate_pages:256:238 move_pages:279:239 setpgid:109:154 setsid:112:157 prctl:157:167 get_robust_list:274:100
# Becoming somebody else.
setuid:105:146 setgid:106:144 setreuid:113:145 setregid:114:143 setresuid:117:147 setresgid:119:149
setfsuid:122:151 setfsgid:123:152 setgroups:116:159 capset:126:91 personality:135:92
# Memory, semaphores and queues shared by name, and the kernel's key rings.
shmget:29:194 shmat:30:196 shmctl:31:195 semget:64:190 semop:65:193 semctl:66:191 semtimedop:220:192
msgget:68:186 msgsnd:69:189 msgrcv:70:188 msgctl:71:187 mq_open:240:180 mq_unlink:241:181 mq_timedsend:242:182
mq_timedreceive:243:183 mq_notify:244:184 mq_getsetattr:245:185 add_key:248:217 request_key:249:218
keyctl:250:219
# Administration, and the parts of the kernel that are attacked most.
mount:165:40 umount2:166:39 move_mount:429:429 open_tree:428:428 fsopen:430:430 fsconfig:431:431 fsmount:432:432
fspick:433:433 mount_setattr:442:442 pivot_root:155:41 chroot:161:51 quotactl:179:60 quotactl_fd:443:443
swapon:167:224 swapoff:168:225 acct:163:89 reboot:169:142 sethostname:170:161 setdomainname:171:162
init_module:175:105 finit_module:313:273 delete_module:176:106 kexec_load:246:104 kexec_file_load:320:294
bpf:321:280 perf_event_open:298:241 userfaultfd:323:282 io_setup:206:0 io_submit:209:2 io_uring_setup:425:425
io_uring_enter:426:426 io_uring_register:427:427 lookup_dcookie:212:18 syslog:103:116 settimeofday:164:170
clock_settime:227:112 clock_adjtime:305:266 adjtimex:159:171 iopl:172:- ioperm:173:- modify_ldt:154:-
nfsservctl:180:42 vhangup:153:58 sync:162:81 syncfs:306:267
"""
_ABSENT = """
# Their arguments are behind a pointer; libraries know how to do without them.
openat2:437:437 clone3:435:435
"""
_JUDGED = """
open:2:- openat:257:56 kill:62:129 tgkill:234:131 prlimit64:302:261 fcntl:72:25 ioctl:16:29
"""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

# Linux: include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h. What duplicates descriptors, reads and sets
# their own flags, stays.
_FCNTL_REFUSED: Mapping[str, int] = MappingProxyType(
    {
        "F_GETLK": 5,
        "F_SETLK": 6,
        "F_SETLKW": 7,
        "F_SETOWN": 8,
        "F_SETSIG": 10,
        "F_SETOWN_EX": 15,
        "F_OFD_GETLK": 36,
        "F_OFD_SETLK": 37,
        "F_OFD_SETLKW": 38,
        "F_SETLEASE": 1024,
        "F_NOTIFY": 1026,
    }
)
# Linux: include/uapi/linux/fs.h and fsverity.h.
_IOCTL_REFUSED: Mapping[str, int] = MappingProxyType(
    {"FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_FSSETXATTR": 0x401C5820, "FS_IOC_ENABLE_VERITY": 0x40806685}
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine: how the kernel calls it (AUDIT_ARCH_*), and in which column its numbers stand."""

    arch: int
    column: int


MACHINES: Mapping[str, Machine] = MappingProxyType(
    {"x86_64": Machine(0xC000003E, 1), "aarch64": Machine(0xC00000B7, 2)}  # as os.uname() calls them
)

# Classic BPF (Linux: include/uapi/linux/filter.h, seccomp.h); the data is struct seccomp_data, 32-bit words.
_LOAD, _EQUALS, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def numbers(machine: Machine, table: str = _REFUSED) -> dict[str, int]:
    """Return the numbers of the system calls in ``table`` on ``machine``, by name."""
    words = (word.split(":") for line in table.splitlines() if not line.startswith("#") for word in line.split())
    return {word[0]: int(word[machine.column]) for word in words if word[machine.column] != "-"}


def filter_program(machine: Machine, own_pid: int) -> bytes:
    """Return the filter for the process ``own_pid``: an array of struct sock_filter in the machine's byte order.

    Both machines are little-endian, so an argument's low half comes first. The arguments that are looked at are ints
    to the kernel, which ignores the upper half as the filter does.
    """
    program = _Program()
    judged = numbers(machine, _JUDGED)
    program.load(_ARCH_AT)
    program.jump(_EQUALS, machine.arch, otherwise="other machine")
    program.load(_NUMBER_AT)
    program.jump(_GREATER, NEWEST, then="absent")
    for number in sorted(numbers(machine, _ABSENT).values()):
        program.jump(_EQUALS, number, then="absent")
    for name, number in judged.items():
        program.jump(_EQUALS, number, then=name)
    for number in sorted(numbers(machine).values()):
        program.jump(_EQUALS, number, then="refuse")
    program.end("allow", _ALLOW)
    for name, argument in (("open", 1), ("openat", 2)):
        if name in judged:
            program.label(name)
            program.load(_ARGUMENTS_AT + 8 * argument)
            program.jump(_ANY_BIT, _WRITING, then="refuse", otherwise="allowed")
    program.label("kill")
    program.label("tgkill")
    program.load(_ARGUMENTS_AT)
    program.jump(_EQUALS, own_pid, then="allowed", otherwise="refuse")
    program.label("prlimit64")
    program.load(_ARGUMENTS_AT)
    program.jump(_EQUALS, 0, then="allowed")
    program.jump(_EQUALS, own_pid, then="allowed", otherwise="refuse")
    for name, commands in (("fcntl", _FCNTL_REFUSED), ("ioctl", _IOCTL_REFUSED)):
        program.label(name)
        program.load(_ARGUMENTS_AT + 8)
        for command in commands.values():
            program.jump(_EQUALS, command, then="refuse")
        program.end(f"{name} is allowed", _ALLOW)
    program.end("allowed", _ALLOW)
    program.end("refuse", _ERROR | errno.EPERM)
    program.end("absent", _ERROR | errno.ENOSYS)
    program.end("other machine", _KILL)
    return program.assembled()


class _Program:
    """Instructions and labels; jumps lead forward, by at most 255 instructions."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, str | None, str | None]] = []
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        """Take up the word at ``offset`` of the data."""
        self._instructions.append((_LOAD, offset, None, None))

    def jump(self, test: int, value: int, *, then: str | None = None, otherwise: str | None = None) -> None:
        """Go to the label ``then`` if the word passes ``test`` with ``value``, else to ``otherwise``; None is on."""
        self._instructions.append((test, value, then, otherwise))

    def label(self, name: str) -> None:
        """Call the next instruction ``name``."""
        self._labels[name] = len(self._instructions)

    def end(self, name: str, verdict: int) -> None:
        """End here with ``verdict``, at the label ``name``."""
        self.label(name)
        self._instructions.append((_RETURN, verdict, None, None))

    def assembled(self) -> bytes:
        """Return the program."""
        return b"".join(
            struct.pack("<HBBI", code, self._distance(at, then), self._distance(at, otherwise), value)
            for at, (code, value, then, otherwise) in enumerate(self._instructions)
        )

    def _distance(self, at: int, label: str | None) -> int:
        return 0 if label is None else self._labels[label] - at - 1
