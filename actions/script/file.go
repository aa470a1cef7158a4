package script

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// endings of the file of an analysis. The file is executed, whatever its
// ending; it is there for editors.
var endings = []string{"", ".sh", ".py", ".js", ".mjs"}

// fileError says why a script is not started.
type fileError struct {
	status string
	text   string // names no path but the file's own
}

// Error says what is wrong with the file.
func (e *fileError) Error() string { return e.text }

func unusable(status, format string, args ...any) error {
	return &fileError{"file." + status, fmt.Sprintf(format, args...)}
}

// CheckDir says what is wrong with a directory of scripts, nil for "". It is
// looked at again before each start.
func CheckDir(dir string) error {
	if dir == "" {
		return nil
	}
	root, err := open(dir)
	if err != nil {
		return err
	}
	return root.Close()
}

// open opens the directory. Errors: *fileError.
func open(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, unusable("dir", "the directory of scripts cannot be opened")
	}
	info, err := root.Stat(".")
	if err != nil {
		_ = root.Close()
		return nil, unusable("dir", "the directory of scripts cannot be read")
	}
	if err := guarded("the directory of scripts", info); err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// find returns the path of the program of an analysis in dir. A link that
// leads out of dir is not followed. Whoever can write to the file or to dir can
// run what they like with the secrets of the analysis, so only the owner of this
// process and root may. Errors: *fileError.
func find(dir, id string) (string, error) {
	if dir == "" {
		return "", unusable("off", "this worker starts no scripts")
	}
	root, err := open(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	found := ""
	for _, ending := range endings {
		switch _, err := root.Lstat(id + ending); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", unusable("read", "%s cannot be read", id+ending)
		case found != "":
			return "", unusable("twice", "there are two files for one analysis: %s and %s", found, id+ending)
		}
		found = id + ending
	}
	if found == "" {
		return "", unusable("missing", "there is no file %s, nor with .sh, .py, .js or .mjs", id)
	}
	path := filepath.Join(dir, found)
	if err := usable(root, found); err != nil {
		return "", err
	}
	return path, guardedTarget(path, found)
}

// guardedTarget refuses a link into a directory that others can write to. A
// directory that Kubernetes mounts is made of such links.
func guardedTarget(path, name string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return unusable("link", "%s leads to nothing", name)
	}
	info, err := os.Stat(filepath.Dir(real))
	if err != nil {
		return unusable("link", "%s leads to nothing", name)
	}
	return guarded("the directory that "+name+" leads to", info)
}

// usable checks one file, through links that stay in root.
func usable(root *os.Root, name string) error {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return unusable("link", "%s is a link that leads to nothing or out of the directory", name)
	case !info.Mode().IsRegular():
		return unusable("kind", "%s is not a regular file", name)
	case info.Mode().Perm()&0o111 == 0:
		return unusable("mode", "%s is not executable: chmod 755", name)
	}
	return guarded(name, info)
}

// guarded refuses what others than root and this user can write to.
func guarded(name string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return unusable("writable", "%s can be written by its group or by all: chmod go-w", name)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return unusable("owner", "%s belongs to another user than this worker's or root", name)
	}
	return nil
}
