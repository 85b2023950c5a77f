package custom

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"snitch/policy/rule"
)

// loadLists puts the lists that modules name into the store, each as an object
// of its items, so that looking one up takes no search.
func (src *source) loadLists(lists map[string]*rule.List, f *faults) {
	data, items := map[string]any{}, 0
	for _, use := range src.listUses() {
		list := lists[use.name]
		if list == nil {
			f.add(use.pos, "no list is named %q", use.name)
			continue
		}
		if data[use.name] != nil {
			continue
		}
		names, nets := list.Len()
		if items += names + nets; items > maxListItems {
			f.add(use.pos, "list %q makes it more than %d items: ask input.to.lists instead, which knows lists of any length", use.name, maxListItems)
			return
		}
		object := make(map[string]any, names+nets)
		for h := range list.Names() {
			object[hostText(h)] = true
		}
		for net := range list.Nets() {
			object[net.String()] = true
		}
		data[use.name] = object
		src.lists = append(src.lists, use.name)
	}
	slices.Sort(src.lists)
	src.store = inmem.NewFromObjectWithOpts(map[string]any{"lists": data}, inmem.OptReturnASTValuesOnRead(true))
}

type listUse struct {
	name string
	pos  rule.Position
}

// listUses finds data.lists.NAME in all modules.
func (src *source) listUses() (uses []listUse) {
	for _, file := range sortedKeys(src.modules) {
		place := src.modules[file].Package.Location
		ast.WalkTerms(src.modules[file], func(t *ast.Term) bool {
			place = nearest(t.Location, place)
			if ref, ok := t.Value.(ast.Ref); ok && len(ref) > 2 && ref[0].Equal(ast.DefaultRootDocument) && ref[1].Equal(ast.StringTerm("lists")) {
				if name, ok := ref[2].Value.(ast.String); ok {
					uses = append(uses, listUse{string(name), position(place)})
				}
			}
			return false
		})
	}
	return uses
}

func hostText(h rule.Host) string {
	switch h.Kind {
	case rule.HostBelow:
		return "*." + h.Name
	case rule.HostSuffix:
		return "." + h.Name
	default:
		return h.Name
	}
}
