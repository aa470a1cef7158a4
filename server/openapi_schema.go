package server

import (
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// schemas are the components of a document, by name. Of a struct type there is
// one, however often it is used.
type schemas map[string]schema

// of returns the schema of a value's type as encoding/json writes it. A schema
// stands for itself.
func (s schemas) of(v any) schema {
	if given, ok := v.(schema); ok {
		return given
	}
	return s.ofType(reflect.TypeOf(v))
}

func (s schemas) ofType(t reflect.Type) schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[redact.String]():
		return schema{"type": "string", "writeOnly": true}
	case reflect.TypeFor[json.RawMessage]():
		return schema{} // any
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.ofType(t.Elem())
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice, reflect.Array:
		return schema{"type": "array", "items": s.ofType(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": s.ofType(t.Elem())}
	case reflect.Struct:
		return s.component(t)
	}
	return schema{} // an interface: any
}

// component returns a reference to the schema of a struct.
func (s schemas) component(t reflect.Type) schema {
	name := componentName(t)
	if name == "" {
		return s.object(t)
	}
	if _, ok := s[name]; !ok {
		s[name] = schema{} // a type that holds itself finds this
		s[name] = s.object(t)
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

// componentName is such as Secret for secretView and queue.Status for a type of
// another package; "" for a type without a name.
func componentName(t reflect.Type) string {
	if t.PkgPath() == reflect.TypeFor[API]().PkgPath() && t.Name() != "" {
		name := strings.TrimSuffix(t.Name(), "View")
		return strings.ToUpper(name[:1]) + name[1:]
	}
	if t.Name() == "" {
		return ""
	}
	return path.Base(t.PkgPath()) + "." + t.Name()
}

// object is the schema of a struct: its fields by their JSON names, those of
// embedded structs among them.
func (s schemas) object(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	s.fields(t, properties, &required)
	out := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func (s schemas) fields(t reflect.Type, properties schema, required *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct:
			s.fields(field.Type, properties, required)
			continue
		case !field.IsExported() || name == "-":
			continue
		case name == "":
			name = field.Name
		}
		one := s.ofType(field.Type)
		optional := strings.Contains(options, "omit")
		if field.Type.Kind() == reflect.Pointer && !optional {
			one = schema{"anyOf": []schema{one, {"type": "null"}}}
		}
		properties[name] = one
		if !optional {
			*required = append(*required, name)
		}
	}
}
