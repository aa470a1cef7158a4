// Package house checks the rules that keep the source readable: who may import
// whom, how long a file and a function may be, what must have a comment, and
// where a sealed value may be revealed. Its test runs over the whole module
// and fails the build; see "make check".
package house

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of the house style. A file or function over one is split.
const (
	MaxFileLines     = 400
	MaxFunctionLines = 60
	MaxMethods       = 3 // of an interface; it is declared by its consumer
)

// File is one parsed Go file of the module.
type File struct {
	// Path is relative to the module's root, with slashes.
	Path string
	// Lines is how many lines the file has.
	Lines int

	ast  *ast.File
	fset *token.FileSet
}

// Finding is one broken rule at one place.
type Finding struct {
	Place string // path or path:line
	Says  string // what is wrong and what to do
}

// String is the finding as a compiler would print it.
func (f Finding) String() string { return f.Place + ": " + f.Says }

// Read parses every Go file below root, test files too, but for hidden
// directories, testdata, and nested modules.
func Read(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, name, d.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(root, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	return files, nil
}

// skipDir returns fs.SkipDir for directories that are not of this module.
func skipDir(root, name, base string) error {
	if name == root {
		return nil
	}
	if strings.HasPrefix(base, ".") || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// parse reads one file.
func parse(root, name string) (File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return File{}, err
	}
	return Parse(filepath.ToSlash(rel), string(text))
}

// Parse makes a File of text, for [Read] and for tests of the rules.
func Parse(path, text string) (File, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	return File{Path: path, Lines: strings.Count(text, "\n"), ast: tree, fset: fset}, nil
}

// test says whether the file is only built for tests.
func (f File) test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// generated says whether the file tells that a program wrote it.
func (f File) generated() bool { return ast.IsGenerated(f.ast) }

// dir is the directory of the file, "." for the root.
func (f File) dir() string { return path.Dir(f.Path) }

// at is the place of a node.
func (f File) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.fset.Position(n.Pos()).Line)
}

// length is how many lines a node covers.
func (f File) length(n ast.Node) int {
	return f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
}

// Sizes finds files, functions and interfaces over the limits.
func Sizes(files []File) []Finding {
	var found []Finding
	for _, f := range files {
		if f.generated() {
			continue
		}
		if f.Lines > MaxFileLines {
			found = append(found, Finding{f.Path, fmt.Sprintf("%d lines, at most %d: split the file by idea", f.Lines, MaxFileLines)})
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if got := f.length(n) - f.tableRows(n); got > MaxFunctionLines {
					found = append(found, Finding{f.at(n), fmt.Sprintf("%s has %d lines, at most %d", n.Name.Name, got, MaxFunctionLines)})
				}
			case *ast.InterfaceType:
				if got := n.Methods.NumFields(); got > MaxMethods {
					found = append(found, Finding{f.at(n), fmt.Sprintf("an interface of %d methods, at most %d", got, MaxMethods)})
				}
			}
			return true
		})
	}
	return found
}

// tableRows is how many lines of a test function are the rows of its tables,
// which are data and not code to follow.
func (f File) tableRows(fn *ast.FuncDecl) int {
	if !f.test() {
		return 0
	}
	rows := 0
	ast.Inspect(fn, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if ok {
			rows += f.length(lit) - 1
		}
		return !ok // what is inside has been counted
	})
	return rows
}

// Globals finds init functions and package variables that are assigned to
// after their declaration, both of which make a package depend on the order
// in which things ran.
func Globals(files []File) []Finding {
	vars := map[string]map[string]bool{} // by directory
	for _, f := range files {
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			if vars[f.dir()] == nil {
				vars[f.dir()] = map[string]bool{}
			}
			for _, s := range g.Specs {
				for _, name := range s.(*ast.ValueSpec).Names {
					vars[f.dir()][name.Name] = true
				}
			}
		}
	}
	var found []Finding
	for _, f := range files {
		found = append(found, f.globals(vars[f.dir()])...)
	}
	return found
}

// globals finds them in one file, given the package's variables. A local that
// shadows one is told apart only by being declared in the same function.
func (f File) globals(vars map[string]bool) []Finding {
	var found []Finding
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			found = append(found, Finding{f.at(fn), "an init function: do it where the value is made"})
		}
		local := declared(fn)
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			as, ok := n.(*ast.AssignStmt)
			if !ok || as.Tok == token.DEFINE {
				return true
			}
			for _, lhs := range as.Lhs {
				if id, ok := lhs.(*ast.Ident); ok && id.Name != "_" && vars[id.Name] && !local[id.Name] {
					found = append(found, Finding{f.at(as), "assigns to the package variable " + id.Name})
				}
			}
			return true
		})
	}
	return found
}

// declared is every name that a function declares, parameters included.
func declared(fn *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	add := func(e ast.Expr) {
		if id, ok := e.(*ast.Ident); ok {
			names[id.Name] = true
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.RangeStmt:
			add(n.Key)
			add(n.Value)
		}
		return true
	})
	return names
}

// Reveals lists every call of Reveal outside tests, as "path function": the
// only places where a sealed value becomes plain text.
func Reveals(files []File) []string {
	seen := map[string]bool{}
	for _, f := range files {
		if f.test() || strings.HasPrefix(f.Path, "integration/") {
			continue
		}
		for _, d := range f.ast.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok && call.Sel.Name == "Reveal" {
					seen[f.Path+" "+nameOf(d)] = true
				}
				return true
			})
		}
	}
	list := make([]string, 0, len(seen))
	for place := range seen {
		list = append(list, place)
	}
	slices.SortFunc(list, cmp.Compare)
	return list
}

// nameOf is the function's name with its receiver, or "-" for other
// declarations.
func nameOf(d ast.Decl) string {
	fn, ok := d.(*ast.FuncDecl)
	if !ok {
		return "-"
	}
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	of := fn.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}
