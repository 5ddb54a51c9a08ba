"""List networks by name: those with trained weights, their accuracy and costs, and model cards.

get_model(NAME, pretrained=True) loads trained weights; so do train-cifar --pretrained NAME and openatac
predict --model NAME. Accuracy is measured on the test images, with the weights after the last epoch.
"""
from __future__ import annotations

import contextlib
import difflib
import fnmatch
from collections.abc import Sequence

from openatac.commands.shared.catalogue import command_parser
from openatac.errors import FlagError, UsageError
from openatac.text import text_table
from openatac.zoo.weights.pretrained import ModelCard, model_card, pretrained_names

HEADER = ('network', 'parameters', 'multiply-adds', 'trained on', 'accuracy', 'runs')


def main(argv: list[str]) -> int:
    """Run ``openatac models``; see the module."""
    p = command_parser('models', __doc__)
    p.add_argument('pattern', metavar='PATTERN', nargs='?',
                   help="names to list, such as 'cifar_resnet20_v2_*' (default: those with trained weights)")
    p.add_argument('--card', action='store_true', help='print the model cards of those with trained weights')
    args = p.parse_args(argv)
    from openatac.zoo.names import get_model_list
    everything = get_model_list()
    names = _names_like(args.pattern.lower(), everything) if args.pattern else pretrained_names()
    if not names:
        near = difflib.get_close_matches(args.pattern.lower(), everything, n=3, cutoff=0.7)
        hint = f'the nearest names are {", ".join(near)}' if near else "openatac models '*' lists all"
        raise FlagError('PATTERN', f'no network is called {args.pattern!r}; {hint}')
    if args.card:
        cards = [model_card(name) for name in names if name in pretrained_names()]
        if not cards:
            raise FlagError('--card', f'{args.pattern} has no trained weights; '
                            f'networks that do: {", ".join(pretrained_names())}')
        print('\n\n'.join(map(_card, cards)))
        return 0
    try:
        rows = [*map(_row, names)]
    except UsageError as error:  # about channels in the name
        raise FlagError('PATTERN', f'{args.pattern}: {error}') from None
    print(text_table([HEADER, *rows]))
    if not args.pattern:
        print(f"\nopenatac models '*' lists {len(everything)} networks with one unit; other depths, and "
              'combinations of units, have names too, such as cifar_resnet44_v2_swish_se.')
    return 0


def _names_like(pattern: str, everything: list[str]) -> list[str]:
    """Return the listed names that match a pattern; if none does, the pattern if it is a valid name."""
    from openatac.zoo.names import parse_network_name
    names = fnmatch.filter(everything, pattern)
    if not names:
        with contextlib.suppress(UsageError):
            parse_network_name(pattern)
            return [pattern]
    return names


def _row(name: str) -> Sequence[str]:
    from openatac.study.costs.named_costs import costs_by_name_or_file, image_shape_of
    counted = costs_by_name_or_file(name, image_shape_of(name))
    costs = f'{counted.trainable:,}', f'{counted.multiply_adds:,}'
    if name not in pretrained_names():
        return name, *costs, '', '', ''
    card = model_card(name)
    return name, *costs, card.data.split(':')[0], f'{card.accuracy:.4f}', str(len(card.accuracies))


def _card(card: ModelCard) -> str:
    accuracies = ', '.join(f'{accuracy:.4f}' for accuracy in card.accuracies)
    lines = {
        'network': card.network,
        'data': card.data,
        'classes': ', '.join(card.classes),
        'accuracy': f'{card.accuracy:.4f} on {card.test_images:,} test images, after the last epoch',
        'best epoch': f'{card.best_accuracy:.4f}, chosen on the test images; these are not its weights',
        'all runs': f'{accuracies} (n = {len(card.accuracies)}, last epoch)',
        'training': f'{card.command} ({card.epochs} epochs, seed {card.seed}, {card.date}, commit '
                    f'{card.commit})',
        'versions': ', '.join(f'{package} {version}' for package, version in card.versions.items()),
        'licence': card.licence,
        'not for': card.not_for,
        'sha256': card.sha256}
    return '\n'.join(f'{name + ":":<12}{text}' for name, text in lines.items())
