"""Draw docs/images/units.svg: ReLU, squeeze-and-excitation and ATAC as gates, side by side."""
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

OUT = Path(__file__).resolve().parent / 'images' / 'units.svg'
CHANNELS, SIDE, STEP = 4, 5, 0.5  # of a drawn feature map; STEP is the offset of the channel behind
SEEN, PLAIN, PIXEL = '#e07a1f', '#f4f4f4', (0, 4)
UNITS = {  # title: what its gate sees, the steps from that to the gate, the formula
    'ReLU': ('one number', ['is x > 0?'], 'x · gate = max(0, x)'),
    'Squeeze-and-excitation': ('the whole image',
                               ['mean over the pixels', 'W₁, ReLU, W₂', 'sigmoid'],
                               'x · sigmoid(W₂ relu(W₁ mean(x)))'),
    'ATAC': ('all channels of one pixel', ['W₁, BatchNorm, ReLU', 'W₂, BatchNorm', 'sigmoid'],
             'x · sigmoid(BN(W₂ relu(BN(W₁ x))))'),
}


def main():
    figure = Figure(figsize=(9, 5.6), facecolor='white')
    for column, (title, (sees, steps, formula)) in enumerate(UNITS.items()):
        axes = figure.add_axes((column / 3, 0, 1 / 3, 1), xlim=(0, 10), ylim=(-0.6, 18), aspect='equal')
        axes.axis('off')
        axes.text(5, 17.2, title, ha='center', va='center', fontsize=13, weight='bold')
        axes.text(5, 16.2, f'the gate sees {sees}', ha='center', va='center', fontsize=9.5, color=SEEN)
        draw_map(axes, 15.5, 'x', seen(title))
        for place, text in zip(np.linspace(8.9, 6.7, len(steps)) if len(steps) > 1 else [7.8], steps):
            axes.add_patch(FancyBboxPatch((1.9, place - 0.38), 6.2, 0.76, facecolor='white',
                                          boxstyle='round,pad=0.05,rounding_size=0.2'))
            axes.text(5, place, text, ha='center', va='center', fontsize=9.5)
        for start, end in ((10.2, 9.4), (6.2, 5.4)) if len(steps) > 1 else ((10.2, 8.3), (7.3, 5.4)):
            axes.add_patch(FancyArrowPatch((5, start), (5, end), arrowstyle='-|>', mutation_scale=12,
                                           color='black'))
        draw_map(axes, 5.3, 'gate', gate(title), size=0.56)
        axes.text(5, 0, formula, ha='center', va='center', fontsize=10)
    OUT.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context({'svg.hashsalt': 'openatac'}):
        figure.savefig(OUT, metadata={'Date': None})


def draw_map(axes, top, name, colours, size=0.72):
    """Draw a feature map whose upper edge is at ``top``, the first channel in front."""
    axes.text(0.9, top - 2.2, name, ha='center', va='center', fontsize=11, style='italic')
    left = 5 - (SIDE * size + (CHANNELS - 1) * STEP) / 2
    for channel in reversed(range(CHANNELS)):
        for row, column in np.ndindex(SIDE, SIDE):
            corner = (left + channel * STEP + column * size,
                      top - (CHANNELS - 1 - channel) * STEP - (row + 1) * size)
            axes.add_patch(Rectangle(corner, size, size, facecolor=colours[channel][row][column],
                                     edgecolor='#555555', linewidth=0.6))


def seen(title):
    """The colours of the input, with what the gate of the marked pixel sees."""
    colours = np.full((CHANNELS, SIDE, SIDE), PLAIN, object)
    if title == 'ReLU':
        colours[0][PIXEL] = SEEN
    elif title == 'ATAC':
        colours[(slice(None), *PIXEL)] = SEEN
    else:
        colours[:] = SEEN
    return colours


def gate(title):
    """Made-up gates as greys, black for 0 and white for 1."""
    values = np.random.RandomState(3).beta(1.2, 1.2, (CHANNELS, SIDE, SIDE))
    if title == 'ReLU':
        values = (values > 0.5).astype(float)
    elif title != 'ATAC':
        values = np.broadcast_to(np.array([0.85, 0.25, 0.6, 0.4])[:, None, None], values.shape)
    return [[[str(round(value, 2)) for value in row] for row in channel] for channel in values.tolist()]


if __name__ == '__main__':
    main()
