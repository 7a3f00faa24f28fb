package egress_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/egress"
)

func TestPublic(t *testing.T) {
	tests := map[string]bool{
		"140.82.121.4": true, "2606:50c0:8000::153": true, "172.32.0.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "0.0.0.0": false, "100.64.0.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fe80::1": false, "fd00:ec2::254": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::a00:1": false, "64:ff9b::a00:1%eth0": false, "::7f00:1": false, "2001::1": false, "fec0::1": false, "168.63.129.16": false, "192.88.99.1": false, "2002:a00:1::": false,
	}
	for address, want := range tests {
		if got := egress.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("Public(%s) = %v", address, got)
		}
	}
}

func TestAClientStaysOutOfPrivateNetworks(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer inside.Close()
	byName := strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)
	for _, url := range []string{inside.URL, byName} {
		if _, err := (egress.Policy{}).Client(5 * time.Second).Get(url); !errors.Is(err, egress.ErrPrivate) {
			t.Errorf("%s: %v", url, err)
		}
		response, err := (egress.Policy{Private: true}).Client(5 * time.Second).Get(url)
		if err != nil || response.StatusCode != http.StatusTeapot {
			t.Errorf("%s, allowed: %v", url, err)
		}
	}
}
