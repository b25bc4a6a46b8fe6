"""What the demo shop sells, who comes and from where. Data only; every person, shop and product is invented."""

from dataclasses import dataclass

HOST = "https://shop.example"


@dataclass(frozen=True)
class Product:
    """A product with its price in euro cents."""

    sku: str
    category: str
    name: str
    cents: int

    @property
    def path(self) -> str:
        """Path of its page."""
        return f"/p/{self.sku.lower()}"


_RANGE = {
    "coffee": ("Espresso Büro 1 kg", "Filter Blend", "Decaf Nacht", "Ethiopia Guji", "Colombia Huila", "Cold Brew Kit"),
    "grinders": ("Hand Grinder 38 mm", 'Burr Grinder "Duo"', "Grinder Brush", "Spare Burrs", "Dosing Cup"),
    "machines": ("Espresso Machine Uno", "Espresso Machine Due", "Moka Pot 6", "French Press 1 l", "Kettle Gooseneck"),
    "cups": ("Cup Blue", "Cup Sand", "Travel Mug 0,4 l", "Glass Set, 4 pieces", "Saucer Oak", "Crème Bowl"),
    "care": ("Descaler", "Cleaning Tablets", "Microfibre Cloth", "Group Head Brush", "Milk Cleaner"),
}
_BASE_CENTS = {"coffee": 1290, "grinders": 3490, "machines": 8900, "cups": 990, "care": 690}

PRODUCTS = tuple(
    Product(f"{category[:2].upper()}-{100 + number}", category, name, _BASE_CENTS[category] + 455 * number)
    for category, names in _RANGE.items()
    for number, name in enumerate(names)
)
CATEGORIES = tuple(_RANGE)


@dataclass(frozen=True)
class Acquisition:
    """A way in.

    Attributes:
        weight: how often it is taken, beside the others.
        channel: the channel as which a visit by it must be found, under the rule set `ga4_plus`.
        query: query of the landing page's URL, with `{id}` for a click id.
        referrer: URL of the referring page.
        landing: the page landed on.
    """

    weight: int
    channel: str
    query: str
    referrer: str
    landing: str = "home"


ACQUISITIONS = (
    Acquisition(22, "Direct", "", ""),
    Acquisition(18, "Organic Search", "", "https://www.google.com/", "product"),
    Acquisition(5, "Organic Search", "", "https://www.bing.com/", "product"),
    Acquisition(4, "Organic Search", "", "https://duckduckgo.com/", "category"),
    Acquisition(3, "Organic Search", "", "https://www.ecosia.org/", "category"),
    Acquisition(
        8,
        "Paid Search",
        "utm_source=google&utm_medium=cpc&utm_campaign=spring_sale&utm_term=espresso+machine&gclid={id}",
        "https://www.google.com/",
        "product",
    ),
    Acquisition(3, "Paid Search", "gclid={id}", "https://www.google.com/", "category"),
    Acquisition(
        2,
        "Paid Shopping",
        "utm_source=google&utm_medium=cpc&utm_campaign=shopping_machines&gclid={id}",
        "https://www.google.com/",
        "product",
    ),
    Acquisition(
        2, "Cross-network", "utm_source=google&utm_medium=cpc&utm_campaign=pmax_cross-network&gclid={id}", "", "home"
    ),
    Acquisition(
        2,
        "Paid Search",
        "utm_source=bing&utm_medium=cpc&utm_campaign=brand_de&msclkid={id}",
        "https://www.bing.com/",
        "home",
    ),
    Acquisition(
        4,
        "Paid Social",
        "utm_source=facebook&utm_medium=paid_social&utm_campaign=spring_sale&utm_content=carousel_2&fbclid={id}",
        "https://l.facebook.com/",
        "category",
    ),
    Acquisition(
        3,
        "Organic Social",
        "utm_source=instagram&utm_medium=social&utm_campaign=barista_tips",
        "https://l.instagram.com/",
        "product",
    ),
    Acquisition(2, "Organic Social", "fbclid={id}", "https://m.facebook.com/", "product"),
    Acquisition(
        2,
        "Paid Social",
        "utm_source=tiktok&utm_medium=paid_social&utm_campaign=latte_art&ttclid={id}",
        "https://www.tiktok.com/",
    ),
    Acquisition(
        2,
        "Organic Video",
        "utm_source=youtube&utm_medium=video&utm_campaign=grinder_test",
        "https://www.youtube.com/",
    ),
    Acquisition(
        6,
        "Email",
        "utm_source=newsletter&utm_medium=email&utm_campaign=weekly_10&utm_content=hero",
        "",
        "category",
    ),
    Acquisition(
        3,
        "Display",
        "utm_source=criteo&utm_medium=display&utm_campaign=come_back",
        "https://www.news.example/",
        "product",
    ),
    Acquisition(
        2,
        "Affiliates",
        "utm_source=partnerize&utm_medium=affiliate&utm_campaign=coffee_blog",
        "https://blog.example/best",
    ),
    Acquisition(1, "SMS", "utm_source=sms&utm_medium=sms&utm_campaign=flash_sale", ""),
    Acquisition(
        1,
        "Mobile Push Notifications",
        "utm_source=onesignal&utm_medium=web_push&utm_campaign=cart_reminder",
        "",
        "cart",
    ),
    Acquisition(3, "Referral", "", "https://www.kaffee-forum.example/t/grinders-2026", "product"),
    Acquisition(2, "Referral", "", "https://de.wikipedia.org/wiki/Espresso", "home"),
    Acquisition(2, "AI Assistants", "utm_source=chatgpt.com", "https://chatgpt.com/", "product"),
    Acquisition(1, "AI Assistants", "", "https://www.perplexity.ai/", "product"),
    Acquisition(1, "Unassigned", "utm_source=flyer&utm_medium=qr&utm_campaign=m%C3%A4rz_2026", "", "home"),
)

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BROWSERS = (
    (26, f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/134.0.0.0 Safari/537.36", (1920, 1080)),
    (10, f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Chrome/134.0.0.0 Safari/537.36", (1728, 1117)),
    (7, f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_SAFARI} Version/18.3 Safari/605.1.15", (1512, 982)),
    (9, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:136.0) Gecko/20100101 Firefox/136.0", (1920, 1080)),
    (3, "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0", (2560, 1440)),
    (
        6,
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/134.0.0.0 Safari/537.36 Edg/134.0.0.0",
        (1536, 864),
    ),
    (
        18,
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) {_SAFARI} Version/18.3 Mobile/15E148 Safari/604.1",
        (393, 852),
    ),
    (16, f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/134.0.0.0 Mobile Safari/537.36", (412, 915)),
    (
        3,
        f"Mozilla/5.0 (Linux; Android 14; K) {_WEBKIT} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
        (360, 780),
    ),
    (
        2,
        f"Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) {_SAFARI} Version/17.7 Mobile/15E148 Safari/604.1",
        (820, 1180),
    ),
)
CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    f"Mozilla/5.0 {_WEBKIT[:-1]}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/134.0.0.0",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    f"Mozilla/5.0 {_WEBKIT[:-1]}; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
)
MONITOR = "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"

LOCALES = (
    (58, "de-DE", "DE"),
    (10, "de-AT", "AT"),
    (8, "de-CH", "CH"),
    (9, "en-GB", "GB"),
    (8, "fr-FR", "FR"),
    (7, "nl-NL", "NL"),
)
PHONES = ((45, "iOS", "18.3"), (12, "iOS", "17.7"), (30, "Android", "14"), (13, "Android", "13"))
APP_VERSIONS = ("5.2.0", "5.2.1", "5.3.0")

HOUR_WEIGHTS = (4, 2, 1, 1, 1, 2, 6, 12, 18, 22, 24, 25, 28, 26, 24, 24, 26, 30, 36, 44, 50, 46, 30, 14)
"""Visits by hour of the day (UTC)."""
WEEKDAY_WEIGHTS = (100, 96, 94, 98, 88, 112, 130)
"""Visits by weekday, from Monday."""

REVIEWS = (
    "Great machine, would buy again",
    'My kids call it "the dragon", loud but good',
    "Arrived late.\nSupport was kind, though.",
    "Five stars, no complaints; 10/10",
    "Süß, kräftig, günstig ☕",
    'Quote: "too small", she said.\n\nStill, I like it, a lot.',
    "ok",
    "Line one\nLine two, with a comma\nLine three",
)
