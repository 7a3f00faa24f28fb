// Package egress makes the HTTP clients that leave this machine for addresses
// which settings, users or strangers name. Unless private networks are
// allowed, they connect to public addresses alone: what counts is the address
// that is dialled, so a name that resolves into a private network, or a
// redirect into one, is refused too.
package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrPrivate means that an address lies in a private network.
var ErrPrivate = errors.New("the address is in a private network, where DevFlowFix connects to nothing unless ALLOW_PRIVATE_NETWORKS is set")

// Policy says where clients may connect to.
type Policy struct {
	// Private allows private networks and this machine.
	Private bool
}

// Transport returns a transport under the policy, with connections of its own.
func (p Policy) Transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, ControlContext: p.control}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = dialer.DialContext
	if !p.Private {
		t.Proxy = nil // a proxy would resolve the name by itself
	}
	return t
}

// Client returns a client under the policy whose requests take at most
// timeout.
func (p Policy) Client(timeout time.Duration) *http.Client {
	return &http.Client{Transport: KeepCredentials(p.Transport()), Timeout: timeout}
}

// control sees every address right before it is dialled.
func (p Policy) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	if p.Private {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !Public(at.Addr()) {
		return ErrPrivate
	}
	return nil
}

// Addresses that are not private by their class, yet no public host's: shared
// address space (RFC 6598), benchmarking (RFC 2544), documentation (RFC 5737),
// reserved (RFC 1112), the old 6to4 relay, what leads to IPv4 (IPv4-compatible,
// NAT64, Teredo, 6to4), site-local (RFC 3879), and the address of Azure's host
// agent, which looks public.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// Public reports whether an address is that of a host on the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // a prefix contains no address with a zone
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
