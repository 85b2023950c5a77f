package features

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sockDestroy cuts a connection of its own and looks whether it is cut. It
// runs on the lab's thread, so that its sockets are in the lab.
func sockDestroy() Result {
	answer := func(err error) Result { return refused(SockDestroy, err) }
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return Result{Feature: SockDestroy, Reason: err.Error()}
	}
	defer listener.Close()
	client, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	if err != nil {
		return Result{Feature: SockDestroy, Reason: err.Error()}
	}
	defer client.Close()
	if err := netlink.SocketDestroy(client.LocalAddr(), client.RemoteAddr()); err != nil {
		return answer(fmt.Errorf("destroy a socket: %w", err))
	}
	_ = client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNABORTED) {
		return Result{Feature: SockDestroy, Answer: No, Reason: fmt.Sprintf("the connection lives on (%v)", err)}
	}
	return Result{Feature: SockDestroy, Answer: Yes}
}

func nftQueue(l *lab) Result {
	return nftExpression(l, NftQueue, &expr.Queue{Num: 0, Total: 1, Flag: expr.QueueFlagBypass})
}

func nftCgroup(l *lab) Result {
	return nftExpression(l, NftCgroup, &expr.Socket{Key: expr.SocketKeyCgroupv2, Level: 1, Register: unix.NFT_REG32_00})
}

// nftExpression puts a rule with that expression into the lab, where it ends
// with the lab. The kernel resolves the expression when the rule is made.
func nftExpression(l *lab, f Feature, e expr.Any) Result {
	conn, err := nftables.New(nftables.WithNetNSFd(l.netns))
	if err != nil {
		return refused(f, fmt.Errorf("open nftables: %w", err))
	}
	table := conn.AddTable(&nftables.Table{Name: "snitch-probe-" + fmt.Sprint(uint8(f)), Family: nftables.TableFamilyIPv4})
	chain := conn.AddChain(&nftables.Chain{
		Name: "probe", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{e}})
	if err := conn.Flush(); err != nil {
		return refused(f, fmt.Errorf("make an nft rule: %w", err))
	}
	return Result{Feature: f, Answer: Yes}
}
