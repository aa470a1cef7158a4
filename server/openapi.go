package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/access"
)

// operation describes a row of the route table for people and generators. Body
// and result are values of the types that the handler reads and answers; a
// schema stands for what has no type of its own.
type operation struct {
	summary string
	query   []parameter
	body    any // nil: none
	result  any
	raw     string // media type of an answer that comes without the envelope; "" for the usual
}

// parameter is one of the query.
type parameter struct{ name, about string }

// schema is a JSON Schema, as OpenAPI 3.1 uses it.
type schema map[string]any

// openAPI answers the document itself, without the envelope.
func (a *API) openAPI(*http.Request, access.Principal) (any, error) {
	doc := document(routes())
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return rawJSON(text), nil
}

// rawJSON is an answer that is JSON of a form that somebody else laid down.
type rawJSON []byte

func (text rawJSON) respond(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(text) // the client has gone: nobody to tell
}

// document is the OpenAPI document of the rows. https://spec.openapis.org/oas/v3.1.1
func document(rows []route) schema {
	types := schemas{}
	paths := map[string]map[string]any{}
	about := operations(types)
	for _, row := range rows {
		op := about[row.method+" "+row.pattern]
		if paths[row.pattern] == nil {
			paths[row.pattern] = map[string]any{}
		}
		paths[row.pattern][strings.ToLower(row.method)] = describe(row, op, types)
	}
	refused := types.of(refusal{})
	return schema{
		"openapi": "3.1.1",
		"info": schema{"title": "Sealpost", "version": "1",
			"description": "Every answer is an envelope: {status: true, result} or {status: false, message}."},
		"security": []schema{{"token": []string{}}, {"bearer": []string{}}},
		"paths":    paths,
		"components": schema{
			"schemas": types,
			"responses": schema{"refused": schema{"description": "What was wrong and what to do",
				"content": schema{"application/json": schema{"schema": refused}}}},
			"securitySchemes": schema{
				"token":  schema{"type": "apiKey", "in": "header", "name": "token"},
				"bearer": schema{"type": "http", "scheme": "bearer"},
			},
		},
	}
}

// describe is one operation object.
func describe(row route, op operation, types schemas) schema {
	out := schema{
		"operationId": operationID(row),
		"summary":     op.summary,
		"description": "Takes " + row.scope.String() + ".",
		"tags":        []string{strings.Split(row.pattern, "/")[1]},
		"responses": schema{
			"200":     schema{"description": "Done", "content": answerContent(op, types)},
			"default": schema{"$ref": "#/components/responses/refused"},
		},
	}
	var params []schema
	for _, name := range pathNames(row.pattern) {
		params = append(params, schema{"name": name, "in": "path", "required": true, "schema": schema{"type": "string"}})
	}
	for _, p := range op.query {
		params = append(params, schema{"name": p.name, "in": "query", "description": p.about, "schema": schema{"type": "string"}})
	}
	if params != nil {
		out["parameters"] = params
	}
	if op.body != nil {
		out["requestBody"] = schema{"required": true, "description": "At most " + strconv.FormatInt(row.body, 10) + " bytes",
			"content": schema{"application/json": schema{"schema": types.of(op.body)}}}
	}
	return out
}

// answerContent is the envelope around the operation's result.
func answerContent(op operation, types schemas) schema {
	if op.raw != "" {
		return schema{op.raw: schema{"schema": types.of(op.result)}}
	}
	envelope := schema{"type": "object", "required": []string{"status", "result"}, "properties": schema{
		"status":  schema{"const": true},
		"result":  types.of(op.result),
		"message": schema{"type": "string", "description": "A warning"},
	}}
	return schema{"application/json": schema{"schema": envelope}}
}

// pathNames are the names in braces.
func pathNames(pattern string) []string {
	var names []string
	for _, part := range regexp.MustCompile(`\{([^}]+)\}`).FindAllStringSubmatch(pattern, -1) {
		names = append(names, part[1])
	}
	return names
}

// operationID is such as getSecretsId for GET /secrets/{id}.
func operationID(row route) string {
	var b strings.Builder
	b.WriteString(strings.ToLower(row.method))
	for _, word := range strings.FieldsFunc(row.pattern, func(r rune) bool { return strings.ContainsRune("/{}-._", r) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// undescribed lists the rows that operations leaves out, and what it describes
// but is no row.
func undescribed(rows []route) []string {
	about := operations(schemas{})
	var wrong []string
	for _, row := range rows {
		key := row.method + " " + row.pattern
		if op, ok := about[key]; !ok || op.summary == "" || op.result == nil {
			wrong = append(wrong, key)
		}
		delete(about, key)
	}
	return slices.Concat(wrong, slices.Sorted(maps.Keys(about)))
}
