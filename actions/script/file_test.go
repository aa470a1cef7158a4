package script

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFilesThatAreNotRun(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("#!/bin/sh\ntouch "+outside+".ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	do := func(w *world, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	path := func(w *world) string { return filepath.Join(w.dir, idA) }
	for _, tt := range []struct {
		name, code string
		prepare    func(w *world)
	}{
		{"a link out of the directory", "file.link", func(w *world) { do(w, os.Symlink(outside, path(w))) }},
		{"a link by ..", "file.link", func(w *world) {
			rel, err := filepath.Rel(w.dir, outside)
			do(w, err)
			do(w, os.Symlink(rel, path(w)))
		}},
		{"a link to nothing", "file.link", func(w *world) { do(w, os.Symlink("nothing", path(w))) }},
		{"a directory", "file.kind", func(w *world) { do(w, os.Mkdir(path(w), 0o700)) }},
		{"not executable", "file.mode", func(w *world) { w.script(idA, ""); do(w, os.Chmod(path(w), 0o600)) }},
		{"the group may write", "file.writable", func(w *world) { w.script(idA, ""); do(w, os.Chmod(path(w), 0o770)) }},
		{"all may write", "file.writable", func(w *world) { w.script(idA, ""); do(w, os.Chmod(path(w), 0o702)) }},
		{"all may write to the directory", "file.writable", func(w *world) { w.script(idA, ""); do(w, os.Chmod(w.dir, 0o777)) }},
		{"no such directory", "file.dir", func(w *world) { w.action.config.Dir = w.dir + "-gone" }},
		{"two files", "file.twice", func(w *world) { w.script(idA, ""); w.script(idA+".py", "") }},
		{"a link into a directory of others", "file.writable", func(w *world) {
			do(w, os.Mkdir(filepath.Join(w.dir, "open"), 0o700))
			w.script("open/x", "")
			do(w, os.Chmod(filepath.Join(w.dir, "open"), 0o777))
			do(w, os.Symlink("open/x", path(w)))
		}},
		{"another user's", "file.owner", func(w *world) {
			if os.Geteuid() != 0 {
				w.t.Skip("only root can give a file away")
			}
			w.script(idA, "")
			do(w, os.Chown(path(w), 4711, 4711))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.prepare(w)
			reply, err := w.do(t.Context(), job("j", idA))
			if err == nil || reply.Code != tt.code || len(w.nodes.opened) != 0 {
				t.Errorf("got %+v, %v, opened %q, want %s and nothing opened", reply, err, w.nodes.opened, tt.code)
			}
			if _, err := os.Stat(outside + ".ran"); err == nil {
				t.Error("the file outside was run")
			}
		})
	}
}

func TestCheckDir(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := CheckDir(open); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if err := CheckDir(""); err != nil {
		t.Errorf("none: %v", err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, open + "-gone", os.Args[0]} {
		if err := CheckDir(dir); err == nil {
			t.Errorf("%s is good", dir)
		}
	}
}

func TestFilesThatAreRun(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.dir, "..data"), 0o755); err != nil { // as Kubernetes mounts
		t.Fatal(err)
	}
	w.script("..data/real", "echo linked")
	if err := os.Symlink("..data/real", filepath.Join(w.dir, idA+".mjs")); err != nil {
		t.Fatal(err)
	}
	w.script(idB+".py", "echo by its first line")
	for id, want := range map[string]string{idA: "linked", idB: "by its first line"} {
		reply, err := w.do(t.Context(), job("j", id))
		if err != nil || reply.Text != want || reply.Code != "exit 0" {
			t.Errorf("got %+v, %v, want %q", reply, err, want)
		}
	}
}
