package peers

import (
	"fmt"
	"strings"
)

// mainCF is the main.cf of an instance in dir: it takes mail only from those
// who logged in, keeps all local mail in one maildir, and bounces the rest, so
// that no mistake of a test can send mail outside.
func mainCF(dir string, o PostfixOptions) string {
	tls := "encrypt"
	authOnly := "yes"
	if o.NoTLS {
		tls, authOnly = "none", "no"
	}
	return strings.NewReplacer("$P", dir, "$TLS", tls, "$AUTHONLY", authOnly).Replace(`
compatibility_level = 3.6
queue_directory = $P/spool
data_directory = $P/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
maillog_file = $P/log
maillog_file_prefixes = $P
virtual_mailbox_domains = mail.test,example.test
virtual_mailbox_base = $P/mail
virtual_mailbox_maps = regexp:$P/etc/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
default_transport = error:no outside delivery
relay_transport = error:no relay
smtpd_tls_chain_files = $P/etc/server.pem
smtpd_tls_security_level = $TLS
smtpd_tls_auth_only = $AUTHONLY
smtpd_tls_loglevel = 1
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = mail.test
smtpd_relay_restrictions = permit_sasl_authenticated,reject
smtpd_recipient_restrictions = permit_sasl_authenticated,reject
message_size_limit = 2097152
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
`)
}

// masterCF is the master.cf with the two listeners, no chroot anywhere.
func masterCF(submission, implicit string) string {
	var b strings.Builder
	service := func(name, kind, private, unprivileged, wakeup, limit, command string) {
		fmt.Fprintf(&b, "%s %s %s %s n %s %s %s\n", name, kind, private, unprivileged, wakeup, limit, command)
	}
	service(submission, "inet", "n", "-", "-", "-", "smtpd")
	service(implicit, "inet", "n", "-", "-", "-", "smtpd -o smtpd_tls_wrappermode=yes -o smtpd_tls_security_level=encrypt")
	service("cleanup", "unix", "n", "-", "-", "0", "cleanup")
	service("qmgr", "unix", "n", "-", "300", "1", "qmgr")
	service("tlsmgr", "unix", "-", "-", "1000?", "1", "tlsmgr")
	service("rewrite", "unix", "-", "-", "-", "-", "trivial-rewrite")
	for _, name := range []string{"bounce", "defer", "trace"} {
		service(name, "unix", "-", "-", "-", "0", "bounce")
	}
	service("verify", "unix", "-", "-", "-", "1", "verify")
	service("flush", "unix", "n", "-", "1000?", "0", "flush")
	service("proxymap", "unix", "-", "-", "-", "-", "proxymap")
	service("error", "unix", "-", "-", "-", "-", "error")
	service("retry", "unix", "-", "-", "-", "-", "error")
	service("discard", "unix", "-", "-", "-", "-", "discard")
	service("virtual", "unix", "-", "n", "-", "-", "virtual")
	service("anvil", "unix", "-", "-", "-", "1", "anvil")
	service("scache", "unix", "-", "-", "-", "1", "scache")
	service("postlog", "unix-dgram", "n", "-", "-", "1", "postlogd")
	return b.String()
}

// smtpdConf tells Cyrus SASL where the account is. Debian's Postfix looks for
// it below its own configuration directory.
func smtpdConf(dir string) string {
	return "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + dir + "/sasldb2\n" +
		"mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n"
}
