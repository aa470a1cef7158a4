package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// nobody is the id of no analysis: the policies of the other secrets select it.
const nobody = "ffffffffffffffffffffffff"

// store is one installation: a Redis and a server on it.
type store struct {
	redis  *peers.Redis
	server *program.Server
	admin  string // token
	token  string // of the analysis
	etag   string // of its environment
}

// startStore starts a Redis and a server in a directory of their own, with the
// analysis and what it may see, and others that it may not.
func (w *world) startStore(ctx context.Context, binary, dir, name string, secretCount, policyCount int) (*store, error) {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	s := &store{}
	var err error
	if s.redis, err = peers.StartRedis(dir); err != nil {
		return nil, err
	}
	w.stop = append(w.stop, s.redis.Kill)
	site, err := program.New(binary, dir, s.redis.URL())
	if err != nil {
		return nil, err
	}
	if err := site.Init(); err != nil {
		return nil, err
	}
	if err := s.fillOthers(ctx, site.KeyFile, secretCount, policyCount); err != nil {
		return nil, fmt.Errorf("fill the store: %w", err)
	}
	if s.server, err = site.Serve("SEALPOST_ROLES=api"); err != nil {
		return nil, err
	}
	w.stop = append(w.stop, s.server.Kill)
	s.admin = site.Token
	if err := peers.Wait(startLimit, "the server", s.server.Ready); err != nil {
		return nil, err
	}
	return s, s.fillOwn(ctx)
}

// fillOthers makes the secrets and policies that the analysis does not see. By
// the API 100,000 would take minutes.
func (s *store) fillOthers(ctx context.Context, keyFile string, secretCount, policyCount int) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("read the master key: %w", err)
	}
	kek, err := secrets.LoadKEK(redact.New(string(text)))
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	defer rdb.Close()
	keyring, err := secrets.OpenKeyring(ctx, rdb, kek)
	if err != nil {
		return err
	}
	kept := secrets.NewStore(rdb, keyring, secrets.Options{})
	defer kept.Close()
	var both sync.WaitGroup
	var failed [2]error
	both.Go(func() {
		for i := 0; i < secretCount && failed[0] == nil; i++ {
			_, failed[0] = kept.Create(ctx, "bench", secrets.PutRequest{
				Key: fmt.Sprintf("OTHER_%06d", i), Value: redact.New("a value of some length"),
				Tags: []secrets.Tag{{Key: "group", Value: fmt.Sprintf("other-%d", i/10)}},
			})
		}
	})
	directory := access.NewDirectory(rdb, keyring, kept)
	both.Go(func() {
		for i := 0; i < policyCount && failed[1] == nil; i++ {
			group := fmt.Sprintf("other-%d", i)
			_, failed[1] = directory.CreatePolicy(ctx, "bench", access.PolicyChange{
				Name: &group, Targets: []access.Tuple{{"analysis", "id", nobody}},
				Permissions: []access.Permission{{Effect: access.Allow, Action: []string{access.ActionAccess},
					Resource: access.Tuple{"secrets", "tag.key", "group", "tag.value", group}}},
			})
		}
	})
	both.Wait()
	if failed[0] != nil {
		return failed[0]
	}
	return failed[1]
}
