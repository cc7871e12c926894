package synthetic

// district is a division of Luoyang with its share in a thousand enterprises.
type district struct {
	code, name, short string
	weight            int
}

var districts = []district{
	{"410302", "老城区", "老城", 80}, {"410303", "西工区", "西工", 140}, {"410304", "瀍河回族区", "瀍河", 60},
	{"410305", "涧西区", "涧西", 150}, {"410307", "偃师区", "偃师", 80}, {"410308", "孟津区", "孟津", 70},
	{"410311", "洛龙区", "洛龙", 180}, {"410323", "新安县", "新安", 40}, {"410324", "栾川县", "栾川", 25},
	{"410325", "嵩县", "嵩县", 25}, {"410326", "汝阳县", "汝阳", 20}, {"410327", "宜阳县", "宜阳", 30},
	{"410328", "洛宁县", "洛宁", 20}, {"410329", "伊川县", "伊川", 40}, {"410371", "高新技术产业开发区", "高新", 30},
	{"410300", "洛阳市", "", 10},
}

// form is a legal form: the second character of the credit code, the end of the
// name, the entity type and its share in a thousand.
type form struct {
	category, suffix, entityType string
	weight                       int
}

var (
	limited     = form{"1", "有限公司", "有限责任公司(自然人投资或控股)", 560}
	limitedLong = form{"1", "有限责任公司", "有限责任公司(自然人独资)", 200}
	shares      = form{"1", "股份有限公司", "股份有限公司(非上市、自然人投资或控股)", 80}
	partnership = form{"1", "合伙企业（有限合伙）", "有限合伙企业", 40}
	soleTrader  = form{"2", "经营部", "个体工商户", 100}
	cooperative = form{"3", "种植专业合作社", "农民专业合作社", 20}

	forms = []form{limited, limitedLong, shares, partnership, soleTrader, cooperative}
)

// trades are the 64 fancy words of names.
var trades = []string{
	"云舟", "晨曦", "远航", "青禾", "明德", "瑞泽", "恒信", "新程", "朗月", "清源", "嘉禾", "博雅", "启明", "华章", "鼎新", "润泽",
	"星河", "金穗", "长风", "松涛", "碧波", "春晖", "秋实", "锦程", "鸿雁", "飞鹤", "翠竹", "红枫", "白鹭", "紫藤", "牡丹", "芍药",
	"伊洛", "龙门", "邙山", "周山", "天枢", "玉衡", "开阳", "摇光", "文澜", "书香", "墨韵", "丹青", "梧桐", "银杏", "木棉", "海棠",
	"知行", "致远", "求是", "笃学", "惠民", "利众", "同心", "合力", "安泰", "永昌", "吉祥", "福满", "百川", "千里", "万象", "九州",
}

// industry is a word of the name with the scope of business that goes with it.
type industry struct{ word, scope string }

// industries are the 32 words of trade.
var industries = []industry{
	{"科技", "软件开发；技术服务、技术咨询"}, {"商贸", "日用百货销售；国内贸易代理"}, {"餐饮管理", "餐饮管理；外卖递送服务"},
	{"建筑工程", "建设工程施工；建筑劳务分包"}, {"物流", "道路货物运输；仓储服务"}, {"文化传媒", "广告制作；组织文化艺术交流活动"},
	{"农业", "谷物种植；农产品初加工"}, {"机械制造", "机械设备制造；机械零件加工"}, {"电子", "电子元器件制造；电子产品销售"},
	{"新材料", "新材料技术研发；复合材料销售"}, {"生物技术", "生物技术推广服务；实验分析仪器销售"}, {"环保", "环境保护监测；水污染治理"},
	{"能源", "太阳能发电技术服务；充电桩销售"}, {"教育咨询", "教育咨询服务；文具用品销售"}, {"医疗器械", "第一类医疗器械销售；第二类医疗器械销售"},
	{"家居", "家具销售；室内装饰装修"}, {"服饰", "服装制造；服装零售"}, {"旅游", "旅游开发项目策划咨询；景区管理"},
	{"酒店管理", "酒店管理；物业管理"}, {"房地产经纪", "房地产经纪；住房租赁"}, {"汽车服务", "汽车维修；汽车零配件零售"},
	{"信息技术", "信息系统集成服务；数据处理服务"}, {"网络", "互联网信息技术咨询；网络设备销售"}, {"人力资源", "人力资源服务；劳务派遣"},
	{"印务", "包装装潢印刷品印刷；纸制品销售"}, {"食品", "食品生产；食品销售"}, {"园林绿化", "园林绿化工程施工；花卉种植"},
	{"石化", "石油制品销售；化工产品销售"}, {"轴承", "轴承制造；轴承销售"}, {"矿业", "金属矿石销售；选矿"},
	{"陶瓷", "日用陶瓷制品制造；工艺美术品销售"}, {"检测技术", "检验检测服务；计量技术服务"},
}

var surnames = []string{
	"王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马", "罗", "梁",
	"宋", "郑", "谢", "韩", "唐", "冯", "于", "董", "萧", "程", "曹", "袁", "邓", "许", "傅", "沈", "曾", "彭", "吕", "欧阳", "上官",
}

// crops take the place of the industry in a cooperative's name.
var crops = []string{
	"牡丹", "芍药", "小麦", "玉米", "谷子", "红薯", "花生", "大豆", "芝麻", "油菜", "苹果", "樱桃", "石榴", "葡萄", "核桃", "大枣",
	"柿子", "山楂", "桃", "梨", "杏", "李", "西瓜", "草莓", "番茄", "辣椒", "香菇", "木耳", "连翘", "丹参", "艾草", "烟叶",
}

// special prescribes parts of an enterprise; what is empty is drawn.
type special struct {
	form     form
	district string // code
	industry string // its word
	name     string // whole
	person   string
}

// cases are the awkward ones. The first twenty ordinals hold them all, so that a
// small set of twenty already meets every one. No whole name here can be drawn.
var cases = map[int]special{
	1:  {limited, "410302", "科技", "洛阳示例云帆科技有限公司", "赵测甲"},
	2:  {limited, "", "商贸", "示例晨曦有限公司", ""}, // 8 characters
	3:  {limited, "410304", "机械制造", "洛阳瀍河示例云帆机械制造有限公司", ""},
	4:  {limited, "", "农业", "洛阳示例青禾农业科技（河南）有限公司", ""}, // 18, a place in brackets
	5:  {limited, "", "网络", "洛阳示例E时代360网络科技有限公司", ""},
	6:  {limited, "410311", "新材料", "洛阳洛龙示例清源环保新材料技术研究开发中心有限公司", ""},            // 25
	7:  {shares, "410305", "机械制造", "洛阳涧西示例长风智能装备制造与工业互联网技术服务（河南）集团股份有限公司", ""}, // 36
	8:  {limited, "", "", "", "王测"},
	9:  {limited, "", "", "", "欧阳测乙"},
	10: {limited, "", "", "", "阿测·艾示例"},
	11: {limited, "", "", "", "李测喆"},
	12: {limited, "", "", "", "陈测堃"},
	13: {limited, "", "", "", "杨测昇"},
	14: {limited, "", "", "", "周测珺"},
	15: {limited, "", "", "", "吴测㛃"},
	16: {limited, "", "", "", "徐测䶮"},
	17: {form: soleTrader},
	18: {form: cooperative},
	19: {form: partnership},
	20: {form: limitedLong},
}
