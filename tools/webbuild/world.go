package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

// The map: Equal Earth projection, so that areas compare, in integer units.
const (
	mapWidth  = 2000.0
	leastArea = 2.5  // square units: points whose triangle is smaller are left out
	leastRing = 12.0 // islands smaller than this are left out
	leastLand = 60.0 // a country smaller than this is a dot
)

// topology is what world-atlas writes (TopoJSON, as far as it uses it).
type topology struct {
	Transform struct {
		Scale, Translate [2]float64
	} `json:"transform"`
	Arcs    [][][2]int `json:"arcs"` // each point relative to the one before
	Objects struct {
		Countries struct {
			Geometries []geometry `json:"geometries"`
		} `json:"countries"`
	} `json:"objects"`
}

type geometry struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"` // ISO 3166-1 numeric
	Arcs       json.RawMessage `json:"arcs"`
	Properties struct {
		Name string `json:"name"`
	} `json:"properties"`
}

// polygons are lists of rings, of which the first is the outside, of arcs.
func (g *geometry) polygons() (out [][][]int, err error) {
	switch g.Type {
	case "Polygon":
		out = make([][][]int, 1)
		err = json.Unmarshal(g.Arcs, &out[0])
	case "MultiPolygon":
		err = json.Unmarshal(g.Arcs, &out)
	default:
		err = fmt.Errorf("%s is a %q", g.Properties.Name, g.Type)
	}
	return out, err
}

// code is the two letters of the country, "" for what has none.
func (g *geometry) code() string {
	if g.Properties.Name == "Kosovo" {
		return "XK"
	}
	n, err := strconv.Atoi(g.ID)
	if err != nil {
		return ""
	}
	r, err := language.EncodeM49(n)
	if err != nil || len(r.String()) != 2 {
		return ""
	}
	return r.String()
}

// worldMap is world.json: the size, outlines by country ("" for land without a
// code) as SVG paths, and dots of small countries.
type worldMap struct {
	Width  int               `json:"width"`
	Height int               `json:"height"`
	Paths  map[string]string `json:"paths"`
	Dots   map[string][2]int `json:"dots"`
}

// world draws the map.
func world(npm string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(npm, "world-atlas", "countries-50m.json"))
	if err != nil {
		return nil, err
	}
	var t topology
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	arcs := t.simplified()
	m := worldMap{Paths: map[string]string{}, Dots: map[string][2]int{}}
	top, bottom := math.Inf(1), math.Inf(-1)
	lands := map[string][][]point{}
	for _, g := range t.Objects.Countries.Geometries {
		if g.ID == "010" { // Antarctica has no hosts to speak of
			continue
		}
		polygons, err := g.polygons()
		if err != nil {
			return nil, err
		}
		for _, ring := range slices.Concat(polygons...) {
			for _, part := range cut(stitch(arcs, ring)) {
				for i, p := range part {
					part[i] = project(p)
					top, bottom = min(top, part[i].y), max(bottom, part[i].y)
				}
				lands[g.code()] = append(lands[g.code()], part)
			}
		}
	}
	m.Width, m.Height = mapWidth, int(math.Ceil(bottom-top))
	for code, rings := range lands {
		m.add(code, rings, top)
	}
	return json.Marshal(m)
}

// add draws one country: its path, or a dot when it is too small to hit.
func (m *worldMap) add(code string, rings [][]point, top float64) {
	slices.SortFunc(rings, func(a, b []point) int { return int(math.Copysign(1, area(b)-area(a))) })
	var path strings.Builder
	var land float64
	for i, ring := range rings {
		size := area(ring)
		land += size
		if i == 0 || size >= leastRing {
			draw(&path, ring, top)
		}
	}
	if path.Len() > 0 {
		m.Paths[code] += path.String()
	}
	if land < leastLand && code != "" {
		c := middle(rings[0])
		m.Dots[code] = [2]int{int(math.Round(c.x)), int(math.Round(c.y - top))}
	}
}

type point struct{ x, y float64 }

// simplified decodes and thins the arcs; points are degrees. Neighbours share
// an arc, so their borders still meet.
func (t *topology) simplified() [][]point {
	out := make([][]point, len(t.Arcs))
	for i, arc := range t.Arcs {
		var x, y int
		points := make([]point, len(arc))
		for j, d := range arc {
			x, y = x+d[0], y+d[1]
			p := point{float64(x)*t.Transform.Scale[0] + t.Transform.Translate[0], float64(y)*t.Transform.Scale[1] + t.Transform.Translate[1]}
			if j > 0 {
				p.x = near(p.x, points[j-1].x)
			}
			points[j] = p
		}
		out[i] = thin(points)
	}
	return out
}

// near is the longitude, give or take whole turns, next to another: land goes
// on behind the 180th meridian.
func near(lon, other float64) float64 { return lon + 360*math.Round((other-lon)/360) }

// project is Equal Earth (Šavrič, Patterson, Jenny 2018), north up, scaled to
// mapWidth.
func project(p point) point {
	const a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
	const widest = 2.706629983696 * 2 // x at the equator's ends
	theta := math.Asin(math.Sqrt(3) / 2 * math.Sin(p.y*math.Pi/180))
	t2 := theta * theta
	t6 := t2 * t2 * t2
	x := 2 * math.Sqrt(3) * (p.x * math.Pi / 180) * math.Cos(theta) / (3 * (9*a4*t6*t2 + 7*a3*t6 + 3*a2*t2 + a1))
	y := theta * (a4*t6*t2 + a3*t6 + a2*t2 + a1)
	scale := mapWidth / widest
	return point{x*scale + mapWidth/2, -y * scale}
}

// thin leaves out the points that matter least on the map (Visvalingam); the
// ends stay.
func thin(points []point) []point {
	points = slices.Clone(points)
	flat := make([]point, len(points))
	for i, p := range points {
		flat[i] = project(p)
	}
	fewest := 2
	if points[0] == points[len(points)-1] {
		fewest = 4 // an island stays one
	}
	for len(points) > fewest {
		least, at := leastArea, -1
		for i := 1; i < len(points)-1; i++ {
			if a := triangle(flat[i-1], flat[i], flat[i+1]); a < least {
				least, at = a, i
			}
		}
		if at < 0 {
			break
		}
		points, flat = slices.Delete(points, at, at+1), slices.Delete(flat, at, at+1)
	}
	return points
}

// cut makes of a ring those parts of it that lie on the map, which ends at the
// 180th meridian.
func cut(ring []point) (out [][]point) {
	for _, turn := range []float64{-360, 0, 360} {
		part := make([]point, len(ring))
		for i, p := range ring {
			part[i] = point{p.x + turn, p.y}
		}
		part = clip(clip(part, 1), -1)
		if len(part) > 2 {
			out = append(out, part)
		}
	}
	return out
}

// clip keeps of a ring what lies on this side of a meridian: below 180 with
// side 1, above -180 with side -1 (Sutherland and Hodgman).
func clip(ring []point, side float64) (out []point) {
	for i, p := range ring {
		q := ring[(i+1)%len(ring)]
		inside, next := p.x*side <= 180, q.x*side <= 180
		if inside {
			out = append(out, p)
		}
		if inside != next {
			f := (side*180 - p.x) / (q.x - p.x)
			out = append(out, point{side * 180, p.y + f*(q.y-p.y)})
		}
	}
	return out
}

func triangle(a, b, c point) float64 {
	return math.Abs((b.x-a.x)*(c.y-a.y)-(c.x-a.x)*(b.y-a.y)) / 2
}

// stitch joins arcs to a ring; ~i is arc i from its end.
func stitch(arcs [][]point, ring []int) (out []point) {
	for _, i := range ring {
		var arc []point
		if i >= 0 {
			arc = arcs[i]
		} else {
			arc = slices.Clone(arcs[^i])
			slices.Reverse(arc)
		}
		turn := 0.0
		if n := len(out); n > 0 {
			turn = near(arc[0].x, out[n-1].x) - arc[0].x
			arc = arc[1:]
		}
		for _, p := range arc {
			out = append(out, point{p.x + turn, p.y})
		}
	}
	return out
}

func area(ring []point) (a float64) {
	for i, p := range ring {
		q := ring[(i+1)%len(ring)]
		a += p.x*q.y - q.x*p.y
	}
	return math.Abs(a) / 2
}

func middle(ring []point) (c point) {
	for _, p := range ring {
		c.x, c.y = c.x+p.x/float64(len(ring)), c.y+p.y/float64(len(ring))
	}
	return c
}

// draw appends the ring as a path of relative, whole steps.
func draw(b *strings.Builder, ring []point, top float64) {
	var steps []int
	x, y := 0, 0
	for i, p := range ring {
		nx, ny := int(math.Round(p.x)), int(math.Round(p.y-top))
		if i > 0 && nx == x && ny == y {
			continue
		}
		steps = append(steps, nx-x, ny-y)
		x, y = nx, ny
	}
	if len(steps) < 6 {
		return
	}
	fmt.Fprintf(b, "M%d %d", steps[0], steps[1])
	b.WriteByte('l')
	for i, n := range steps[2:] {
		if i > 0 && n >= 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(n))
	}
	b.WriteByte('z')
}
