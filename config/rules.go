package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/secrets/redact"
)

// The rules never quote what they were given: a password in the wrong variable
// would end in a log. So no error of strconv, url or time is wrapped either.

func rule(text string) error { return errors.New(text) }

func parseInt(v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a whole number from %d to %d", low, high)
	}
	return n, nil
}

func parseDuration(v string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("want a duration with its unit from %s to %s, such as 90s or 1h30m", short(low), short(high))
	}
	return d, nil
}

// short writes 720h0m0s as 720h.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func parseRoles(v string) (Roles, error) {
	var r Roles
	for _, name := range fields(v) {
		switch name {
		case "worker":
			r.Worker = true
		case "api":
			r.API = true
		default:
			return Roles{}, rule("want worker, api, or both, comma separated")
		}
	}
	if r == (Roles{}) {
		return r, rule("want worker, api, or both, comma separated")
	}
	return r, nil
}

// String returns the roles as they are written in SEALPOST_ROLES.
func (r Roles) String() string {
	var names []string
	if r.Worker {
		names = append(names, "worker")
	}
	if r.API {
		names = append(names, "api")
	}
	return strings.Join(names, ",")
}

// fields cuts a comma-separated list, trims, and drops what is empty.
func fields(v string) []string {
	var list []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func parseAllowNet(v string) (string, error) {
	list := fields(v)
	for i, entry := range list {
		if _, err := netguard.Parse(entry); err != nil { // err quotes the entry
			return "", fmt.Errorf("entry %d: want a CIDR such as 10.1.0.0/16 without bits behind the mask, an address, or host:port", i+1)
		}
	}
	return strings.Join(list, ","), nil
}

func checkAddr(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil || host != "" && !validHost(host) || !validPort(port, 0) {
		return rule("want host:port, such as 127.0.0.1:8080 or :8080")
	}
	return nil
}

func setOps(field *string, v string) error {
	if v == "off" {
		*field = ""
		return nil
	}
	*field = v
	if checkAddr(v) != nil {
		return rule("want host:port, such as 127.0.0.1:9464, or off")
	}
	return nil
}

func orOff(v string) string {
	if v == "" {
		return "off"
	}
	return v
}

func checkPath(v string) error {
	if strings.ContainsRune(v, 0) || strings.ContainsAny(v, "\r\n") {
		return rule("want the path of a PEM file, not its content")
	}
	return nil
}

// checkDir wants a path that means the same wherever the process was started.
func checkDir(v string) error {
	if v != "" && (!filepath.IsAbs(v) || strings.ContainsAny(v, "\x00\r\n")) {
		return rule("want the absolute path of a directory")
	}
	return nil
}

func checkURL(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return rule("want http://host:port or https://host:port")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return rule("want a URL without login, query or fragment")
	}
	return nil
}

// checkBase takes the base URL of an API, to which paths are added.
func checkBase(v string) error {
	if err := checkURL(v); err != nil {
		return err
	}
	if strings.HasSuffix(v, "/") || strings.ContainsAny(v, "?#") {
		return rule("want a URL without a slash at its end")
	}
	return nil
}

func setLevel(field *slog.Level, v string) error {
	level, ok := levels()[v]
	if !ok {
		return rule("want debug, info, warn or error")
	}
	*field = level
	return nil
}

// setToken takes anything that can stand in a header; the server judges it.
func setToken(field *redact.String, v string) error {
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return rule("want one token, without spaces or line breaks inside")
	}
	*field = redact.New(v)
	return nil
}

func oneOf(allowed ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("want %s", strings.Join(allowed, " or "))
		}
		return nil
	}
}

// validHost takes host names and addresses: what can stand in a host:port.
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '-' && r != '.' && r != '_'
	})
}

func validPort(port string, low int) bool {
	_, err := parseInt(port, low, 65535)
	return err == nil && port != "" && port[0] != '+'
}

func secretText(s redact.String) string {
	if s.IsZero() {
		return ""
	}
	return redact.Placeholder
}

// loopbackAddr reports whether a host:port is surely this machine only.
func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
