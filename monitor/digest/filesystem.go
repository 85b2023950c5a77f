package digest

import (
	"strings"

	"golang.org/x/sys/unix"
)

// family is what a file system promises about stat, speed and trust.
type family uint8

const (
	// familyUnknown: slow, nothing is believed.
	familyUnknown family = iota
	// familyLocal: answers promptly, the kernel keeps its times, and stat shows
	// the superblock's own device number.
	familyLocal
	// familyRenumbered: as local, but stat shows another device (subvolumes).
	familyRenumbered
	// familyStacked: overlays. Prompt and honest only if their layers are,
	// which is believed of those that the host mounted.
	familyStacked
	// familyRemote: a server answers, with the trust of an administrator.
	familyRemote
	// familyForgeable: any user may be the server.
	familyForgeable
)

// prompt reports whether files of f are read in the fast lane and may be handed
// over by fanotify, which opens them in the reader.
func (f family) prompt() bool {
	return f == familyLocal || f == familyRenumbered || f == familyStacked
}

// sameDevice reports whether stat shows the superblock's device number.
func (f family) sameDevice() bool {
	return f == familyLocal || f == familyRemote || f == familyForgeable
}

// believed reports whether equal times mean equal content wherever f is
// mounted. Overlays depend on who mounted them: see mountTable.vouches.
func (f family) believed() bool {
	return f == familyLocal || f == familyRenumbered || f == familyRemote
}

// Magic numbers of statfs that x/sys does not name.
const (
	magicBcachefs = 0xca451a4e
	magicErofs    = 0xe0f5e1e2
	magicJFS      = 0x3153464a
	magicNTFS3    = 0x7366746e
	magicZFS      = 0x2fc12fc1
	magicCeph     = 0x00c36400
	magicHFSPlus  = 0x482b
)

// familyOfMagic reads statfs's f_type.
func familyOfMagic(magic int64) family {
	switch uint32(magic) { // 32 bits on every architecture; int32 ones arrive sign-extended
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.SQUASHFS_MAGIC,
		unix.F2FS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.ISOFS_SUPER_MAGIC,
		unix.REISERFS_SUPER_MAGIC, unix.NILFS_SUPER_MAGIC, unix.UDF_SUPER_MAGIC, unix.HUGETLBFS_MAGIC,
		magicErofs, magicJFS, magicNTFS3, magicHFSPlus:
		return familyLocal
	case unix.BTRFS_SUPER_MAGIC, magicBcachefs, magicZFS:
		return familyRenumbered
	case unix.OVERLAYFS_SUPER_MAGIC:
		return familyStacked
	case unix.NFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.AFS_SUPER_MAGIC, magicCeph:
		return familyRemote
	case unix.FUSE_SUPER_MAGIC:
		return familyForgeable
	}
	return familyUnknown
}

// neverRenumbers reports whether statfs's f_type is of a file system in memory,
// which counts its inodes up.
func neverRenumbers(magic int64) bool {
	switch uint32(magic) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.HUGETLBFS_MAGIC:
		return true
	}
	return false
}

// familyOfName reads the type field of mountinfo.
func familyOfName(name string) family {
	switch name {
	case "ext2", "ext3", "ext4", "xfs", "tmpfs", "ramfs", "devtmpfs", "squashfs", "f2fs", "msdos", "vfat", "exfat",
		"iso9660", "rootfs", "reiserfs", "nilfs2", "udf", "hugetlbfs", "erofs", "jfs", "ntfs3", "hfsplus":
		return familyLocal
	case "btrfs", "bcachefs", "zfs":
		return familyRenumbered
	case "overlay":
		return familyStacked
	case "nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "virtiofs":
		// virtiofs has the magic of FUSE, but its server is the hypervisor.
		return familyRemote
	case "fuse", "fuseblk":
		return familyForgeable
	}
	if strings.HasPrefix(name, "fuse.") || strings.HasPrefix(name, "fuseblk.") {
		return familyForgeable
	}
	return familyUnknown
}

// kernelDevice turns stat's device number into the kernel's own encoding.
func kernelDevice(dev uint64) uint64 {
	return uint64(unix.Major(dev))<<20 | uint64(unix.Minor(dev))
}

// anonymous reports whether dev (kernel encoding) belongs to no block device:
// such numbers are used again after an unmount, by anybody.
func anonymous(dev uint64) bool { return dev>>20 == 0 }
