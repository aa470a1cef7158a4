package config

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Redis says where Redis is and how to log in. It is parsed here and not by
// redis.ParseURL, whose errors show the password (go-redis v9.23.0).
type Redis struct {
	Addrs   []string // host:port; one, or the seeds of a cluster, or the sentinels
	TLS     bool     // TLS 1.2 or newer, verified against the system's roots
	Cluster bool     // Redis Cluster
	Master  string   // name of the master that the sentinels watch; "" without sentinels
	DB      int      // from 0; always 0 in a cluster

	Username         string
	Password         redact.String
	SentinelUsername string
	SentinelPassword redact.String
}

const (
	redisPort    = "6379"
	sentinelPort = "26379"
	maxDB        = 9999 // redis.conf's "databases" is 16 unless raised
)

// Options returns the options of a client that makes one try for each command:
// whoever calls Redis knows better than the client whether to repeat. They hold
// the password, so they must not be logged.
func (r Redis) Options() *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs:            slices.Clone(r.Addrs),
		DB:               r.DB,
		Username:         r.Username,
		Password:         r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername,
		SentinelPassword: r.SentinelPassword.Reveal(),
		MasterName:       r.Master,
		IsClusterMode:    r.Cluster,
		MaxRetries:       -1, // a script that was cut off may have run
		DialerRetries:    1,
		DisableIdentity:  true, // Redis 7.0 does not know CLIENT SETINFO
		// No connections of their own for pipelines: each of up to ten has buffers of
		// 256 KiB, four times those of the others, and is never closed (go-redis
		// v9.23.0, options.go). A worker grew by them for hours, one a rare moment.
		PipelinePoolSize: -1,
		// Without it a command goes on after its context has ended.
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if r.TLS {
		// ServerName is left out on purpose: the client fills in each node's host.
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// String returns the URL with the passwords as placeholders.
func (r Redis) String() string {
	var b strings.Builder
	b.WriteString(r.scheme() + "://")
	if r.Username != "" || !r.Password.IsZero() {
		b.WriteString(url.PathEscape(r.Username))
		if !r.Password.IsZero() {
			b.WriteString(":" + redact.Placeholder)
		}
		b.WriteString("@")
	}
	b.WriteString(strings.Join(r.Addrs, ","))
	if r.Master != "" {
		b.WriteString("/" + r.Master)
	}
	if !r.Cluster {
		b.WriteString("/" + strconv.Itoa(r.DB))
	}
	if !r.SentinelPassword.IsZero() {
		b.WriteString("?sentinel_password=" + redact.Placeholder)
	}
	return b.String()
}

func (r Redis) scheme() string {
	scheme := "redis"
	if r.TLS {
		scheme = "rediss"
	}
	switch {
	case r.Master != "":
		scheme += "+sentinel"
	case r.Cluster:
		scheme += "+cluster"
	}
	return scheme
}

// loopback reports whether all addresses are of this machine.
func (r Redis) loopback() bool {
	return !slices.ContainsFunc(r.Addrs, func(addr string) bool { return !loopbackAddr(addr) })
}

var errRedisScheme = errors.New("want redis://, rediss://, redis+sentinel:// or redis+cluster://")

// parseRedis reads the URL. Its errors are rules and quote nothing.
func parseRedis(v string) (Redis, error) {
	scheme, rest, ok := strings.Cut(v, "://")
	if !ok {
		return Redis{}, errRedisScheme
	}
	var r Redis
	base, kind, _ := strings.Cut(scheme, "+")
	r.TLS = base == "rediss"
	r.Cluster = kind == "cluster"
	sentinel := kind == "sentinel"
	if base != "redis" && base != "rediss" || strings.Contains(scheme, "+") && !r.Cluster && !sentinel {
		return Redis{}, errRedisScheme
	}
	// The last @ ends the login, so that a password with a raw /, ? or # works.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		if err := r.login(rest[:i]); err != nil {
			return Redis{}, err
		}
		rest = rest[i+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if err := errors.Join(r.hosts(hosts, sentinel), r.path(path, sentinel), r.query(query, sentinel)); err != nil {
		return Redis{}, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return r, nil
}

func (r *Redis) login(v string) error {
	user, password, _ := strings.Cut(v, ":")
	name, err1 := url.PathUnescape(user)
	secret, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return rule("a % in the login must be written %25")
	}
	r.Username, r.Password = name, redact.New(secret)
	return nil
}

func (r *Redis) hosts(v string, sentinel bool) error {
	port := redisPort
	if sentinel {
		port = sentinelPort
	}
	for _, host := range strings.Split(v, ",") {
		addr, ok := hostPort(strings.TrimSpace(host), port)
		if !ok {
			return rule("want host or host:port; an IPv6 address in [ ]")
		}
		r.Addrs = append(r.Addrs, addr)
	}
	if len(r.Addrs) > 1 && !sentinel && !r.Cluster {
		return rule("several hosts need redis+sentinel:// or redis+cluster://")
	}
	return nil
}

func hostPort(v, port string) (string, bool) {
	host := v
	if h, p, err := net.SplitHostPort(v); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") {
		host = v[1 : len(v)-1]
	} else if strings.Contains(v, ":") {
		return "", false
	}
	return net.JoinHostPort(host, port), validHost(host) && validPort(port, 1)
}

func (r *Redis) path(v string, sentinel bool) error {
	db := v
	if sentinel {
		r.Master, db, _ = strings.Cut(v, "/")
		if !validHost(r.Master) {
			return rule("want the master's name after the sentinels: redis+sentinel://h1,h2/master")
		}
	}
	if db == "" {
		return nil
	}
	n, err := parseInt(db, 0, maxDB)
	if err != nil {
		return rule("want a database number at the end of the path, such as /0")
	}
	if r.Cluster && n != 0 {
		return rule("a Redis Cluster has only database 0")
	}
	r.DB = n
	return nil
}

func (r *Redis) query(v string, sentinel bool) error {
	if v == "" {
		return nil
	}
	values, err := url.ParseQuery(v)
	for name, list := range values {
		switch {
		case sentinel && name == "sentinel_username" && len(list) == 1:
			r.SentinelUsername = list[0]
		case sentinel && name == "sentinel_password" && len(list) == 1:
			r.SentinelPassword = redact.New(list[0])
		default:
			err = errRedisQuery
		}
	}
	if err != nil {
		return errRedisQuery
	}
	return nil
}

var errRedisQuery = errors.New("after the ? only sentinel_username and sentinel_password, once each, with redis+sentinel://")
