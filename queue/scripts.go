package queue

import (
	"context"
	"embed"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// The scripts, one for each move of DESIGN.md. Each file says its KEYS, ARGV
// and Output, and what a crash before and after it leaves.
var (
	scriptEnqueue = loadScript("enqueue")
	scriptDone    = loadScript("done")
	scriptDelay   = loadScript("delay")
	scriptDead    = loadScript("dead")
	scriptPark    = loadScript("park")
	scriptRelease = loadScript("release")
	scriptPromote = loadScript("promote")
	scriptRecall  = loadScript("recall")
	scriptReclaim = loadScript("reclaim")
	scriptRenew   = loadScript("renew")
	scriptReap    = loadScript("reap")
	scriptWhere   = loadScript("where")
	scriptCancel  = loadScript("cancel")
	scriptRequeue = loadScript("requeue")
	scriptRemove  = loadScript("remove")
	scriptUnpark  = loadScript("unpark")
	scriptVersion = loadScript("version")
	scriptGate    = loadScript("gate")
	scriptHighest = loadScript("highest")
	scriptPause   = loadScript("pause")
	scriptPace    = loadScript("pace")
	scriptCheck   = loadScript("check")
	scriptAudit   = loadScript("audit")
	scriptTrim    = loadScript("trim")
)

// script is one Lua script: common.lua and its own file.
type script struct {
	name string
	*redis.Script
}

// loadScript panics if the file is missing: it is part of the binary.
func loadScript(name string) *script {
	common, err := scriptFiles.ReadFile("scripts/common.lua")
	if err != nil {
		panic("queue: " + err.Error())
	}
	own, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic("queue: " + err.Error())
	}
	return &script{name: name, Script: redis.NewScript(string(common) + string(own))}
}

// loadScripts sends the scripts of a worker to Redis, so that the first
// pipeline finds them. Scripts that are lost later (SCRIPT FLUSH, failover)
// are sent again by whoever misses them.
func loadScripts(ctx context.Context, rdb redis.UniversalClient) error {
	for _, s := range []*script{scriptDone, scriptDelay, scriptDead, scriptPark, scriptRelease, scriptPromote, scriptReclaim, scriptRenew} {
		if err := s.Load(ctx, rdb).Err(); err != nil {
			return fmt.Errorf("load script %s: %w", s.name, err)
		}
	}
	return nil
}

// isNoScript reports whether Redis does not have the script of an EVALSHA.
func isNoScript(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}

// isNoGroup reports whether the stream or its group is gone.
func isNoGroup(err error) bool {
	return err != nil && strings.Contains(err.Error(), "NOGROUP") // in a script the text begins otherwise
}

// call is one script call of a pipeline.
type call struct {
	script *script
	keys   []string
	args   []any
	cmd    *redis.Cmd
}

// runCalls sends the calls in one round trip and returns when each has its
// answer in cmd. A call whose script Redis has lost is sent again in full: all
// scripts are safe to send twice, and NOSCRIPT means that it did not run.
func runCalls(ctx context.Context, rdb redis.UniversalClient, calls []*call) {
	if len(calls) == 1 {
		c := calls[0]
		c.cmd = c.script.Run(ctx, rdb, c.keys, c.args...)
		return
	}
	pipe := rdb.Pipeline()
	for _, c := range calls {
		c.cmd = c.script.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	_, _ = pipe.Exec(ctx) // every command carries its own error
	for _, c := range calls {
		if isNoScript(c.cmd.Err()) {
			c.cmd = c.script.Eval(ctx, rdb, c.keys, c.args...)
		}
	}
}
