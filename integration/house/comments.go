package house

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// Comments finds packages and exported names without a doc comment. Test
// files and main packages need none on names; every package needs one.
func Comments(files []File) []Finding {
	documented := map[string]bool{}
	var found []Finding
	for _, f := range files {
		if f.test() {
			continue
		}
		documented[f.dir()] = documented[f.dir()] || f.ast.Doc != nil
		if f.ast.Name.Name != "main" {
			found = append(found, f.undocumented()...)
		}
	}
	for dir, ok := range documented {
		if !ok {
			found = append(found, Finding{dir, "the package has no doc comment"})
		}
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(a.Place, b.Place) })
	return found
}

// undocumented finds the exported names of one file that have no comment.
func (f File) undocumented() []Finding {
	var found []Finding
	miss := func(n ast.Node, name string) {
		found = append(found, Finding{f.at(n), "exported " + name + " has no doc comment"})
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil && !obvious(d) {
				miss(d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if name := undocumentedSpec(d, s); name != "" {
					miss(s, name)
				}
			}
		}
	}
	return found
}

// undocumentedSpec returns the first exported name of a declaration that no
// comment covers. A comment on a group of constants or variables covers it.
func undocumentedSpec(d *ast.GenDecl, s ast.Spec) string {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		if s.Doc != nil || s.Comment != nil || d.Doc != nil {
			return ""
		}
		for _, name := range s.Names {
			if name.IsExported() && (d.Tok == token.CONST || d.Tok == token.VAR) {
				return name.Name
			}
		}
	}
	return ""
}

// exportedReceiver says whether users of the package can see the method.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	name, _, _ := strings.Cut(nameOf(d), ".")
	return ast.IsExported(name)
}

// obvious says whether the method does what a standard interface says it does.
func obvious(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "String", "Len", "Less", "Swap"}, d.Name.Name)
}
