package main

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tlsCryptoInfo is struct tls12_crypto_info_aes_gcm_128. Both directions of
// both ends have the same key: nobody but these tests ever sees it.
type tlsCryptoInfo struct {
	version, cipher uint16
	iv              [8]byte
	key             [16]byte
	salt            [4]byte
	sequence        [8]byte
}

const (
	tlsVersion12 = 0x0303
	tlsAESGCM128 = 51
	tlsTX        = 1
	tlsRX        = 2
)

// kernelTLS makes the kernel encrypt or decrypt what moves in one direction.
type kernelTLS struct {
	direction int
	armed     bool
}

func (k *kernelTLS) arm(fd int) error {
	if k.armed {
		return nil
	}
	// The other direction of this socket may have brought it before.
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls"); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("set TCP_ULP: %w", err)
	}
	info := tlsCryptoInfo{version: tlsVersion12, cipher: tlsAESGCM128}
	copy(info.key[:], "no secret at all")
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_TLS, uintptr(k.direction),
		uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info), 0)
	if errno != 0 {
		return fmt.Errorf("set the key: %w", errno)
	}
	k.armed = true
	return nil
}

func (k *kernelTLS) send(fd int, p []byte) (int, error) {
	if err := k.arm(fd); err != nil {
		return 0, err
	}
	return unix.Write(fd, p)
}

func (k *kernelTLS) recv(fd int, p []byte) (int, error) {
	if err := k.arm(fd); err != nil {
		return 0, err
	}
	return unix.Read(fd, p)
}

func (k *kernelTLS) Close() error { return nil }
