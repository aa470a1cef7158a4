package sink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certLife is how long certificates of a [CA] are good: longer than any run of
// a sink, and short enough that one that escaped is soon worth nothing.
const certLife = 7 * 24 * time.Hour

// CA is a certificate authority that lives in memory only. Its certificates
// are for tests and the dev mode.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

// NewCA makes an authority with a fresh key.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Sealpost sink CA (nothing to trust)"},
		NotBefore:             time.Now().Add(-time.Hour), // clocks of containers differ
		NotAfter:              time.Now().Add(certLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of the authority: %w", err)
	}
	return &CA{cert: cert, key: key, pem: encodeCert(der)}, nil
}

// PEM returns the authority's certificate, for the field ca_pem of a secret.
func (c *CA) PEM() string { return c.pem }

// Issue returns a certificate for these host names and IP addresses.
func (c *CA) Issue(hosts ...string) (tls.Certificate, error) {
	return c.IssueUntil(time.Now().Add(certLife), hosts...)
}

// IssueUntil is Issue with an end of its own, which may have passed.
func (c *CA) IssueUntil(end time.Time, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "Sealpost sink"},
		NotBefore:    end.Add(-certLife - time.Hour),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key}, nil
}

// serial returns a random serial number of 120 bits (CA/Browser Forum asks for
// 64 at least).
func serial() *big.Int {
	b := make([]byte, 15)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return new(big.Int).SetBytes(b)
}

// encodeCert returns a certificate as PEM.
func encodeCert(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
